"""A distributed training started by ``torchrun`` under `art exec`: its ranks write one run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import lineart
from run_reading import history

pytest.importorskip("torch")

SCRIPT = """
import torch, torch.distributed as dist
import wandb
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
rank = dist.get_rank()
run = wandb.init(project="ddp", config={"lr": 0.1})
model = DistributedDataParallel(torch.nn.Linear(4, 1))
run.watch(model, log="gradients", log_freq=4)
optimizer = torch.optim.SGD(model.parameters(), lr=run.config.lr)
torch.manual_seed(rank)
for step in range(12):
    x = torch.randn(16, 4)
    loss = (model(x) - x.sum(1, keepdim=True)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    run.log({f"loss/rank{rank}": loss})
run.finish()
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_ranks_of_torchrun_write_one_run(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    art = str(Path(sys.executable).with_name("art"))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [art, "exec", "-p", "ddp", *launch, "train.py"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (run,) = lineart.Api().runs("default/ddp")
    assert (run.state, run.config) == ("finished", {"lr": 0.1})
    for rank in (0, 1):
        assert len(list(history("default/ddp/" + run.id).rows([f"loss/rank{rank}"]))) == 12
    kinds = {
        value["_type"]
        for row in run.scan_history(["gradients/weight"])
        for value in [row["gradients/weight"]]
    }
    assert kinds == {"histogram"}
