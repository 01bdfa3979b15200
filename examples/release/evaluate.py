"""Judge a model by the images in `golden:v0`, in a run of its own.

python evaluate.py classifier:v0
"""

import csv
import json
import sys

import numpy as np

import lineart


def main() -> None:
    """The run uses the model and the dataset: that is what `eval("golden:v0")` in a policy looks for."""
    with lineart.init(job_type="evaluate") as run:
        model = run.use_artifact(sys.argv[1])
        with run.use_artifact("golden:v0").open("images.csv") as file:
            table = np.array(list(csv.reader(file.read().decode().splitlines())), dtype=float)
        with model.open("weights.json") as file:
            found = json.load(file)
        guesses = (table[:, :-1] / 16 @ np.array(found["weights"]).T + found["bias"]).argmax(axis=1)
        run.log({"accuracy": float((guesses == table[:, -1]).mean())})
        print(f"{model.name}: {run.summary['accuracy']:.4f} on golden:v0")


if __name__ == "__main__":
    main()
