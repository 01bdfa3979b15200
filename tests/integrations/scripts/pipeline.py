"""Data in one run, a model of it in the next: two runs in one process, tied by an artifact."""
# pyright: reportMissingImports=false

import csv
import tempfile
from pathlib import Path

import wandb

folder = Path(tempfile.mkdtemp())
with (folder / "train.csv").open("w", newline="") as stream:
    csv.writer(stream).writerows([["x", "y"], [1, 2], [2, 4], [3, 6]])

with wandb.init(project="flow", job_type="prepare") as run:
    data = wandb.Artifact("numbers", type="dataset", description="pairs", metadata={"rows": 3})
    data.add_file(str(folder / "train.csv"))
    run.log_artifact(data, aliases=["raw"])

with wandb.init(project="flow", job_type="train", config={"form": "linear"}) as run:
    used = run.use_artifact("numbers:latest", type="dataset")
    where = Path(used.download())
    rows = list(csv.DictReader((where / "train.csv").open()))
    factor = sum(float(row["y"]) for row in rows) / sum(float(row["x"]) for row in rows)
    model = wandb.Artifact(name="factor", type="model", metadata={"factor": factor})
    with model.new_file("factor.txt", mode="w") as out:
        out.write(str(factor))
    run.log_artifact(model)
    run.log({"factor": factor})

found = wandb.Api().artifact("flow/factor:latest")
print("logged", found.name, found.metadata["factor"])
