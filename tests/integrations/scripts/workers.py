"""Each worker of a job has a run of its own in one group, started by spawn."""
# pyright: reportMissingImports=false

import multiprocessing
import os

import wandb


def work(rank: int, group: str) -> None:
    """Log a few losses."""
    run = wandb.init(
        project="jobs",
        group=group,
        name=f"rank-{rank}",
        config={"rank": rank},
        settings=wandb.Settings(console="off"),
    )
    for step in range(5):
        run.log({"loss": 1 / (step + 1 + rank)}, step=step)
    run.finish()


if __name__ == "__main__":
    group = "job-" + wandb.util.generate_id()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(rank, group)) for rank in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers), os.getpid()
