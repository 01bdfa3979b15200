"""Train a classifier on `digits` and log it as the next version of `classifier`.

python train.py --strength 0.05 [--more extra.csv]
"""

import argparse
import csv
import json

import numpy as np
from sklearn.linear_model import LogisticRegression

import lineart


def main() -> None:
    """`--more` reads a file that no artifact has: the policy will find it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--strength", type=float, default=0.05, help="inverse of the regularisation")
    parser.add_argument("--images", type=int, help="train on the first so many only")
    parser.add_argument("--more", help="a file with more images")
    given = parser.parse_args()
    with lineart.init(job_type="train", config={"C": given.strength, "images": given.images}) as run:
        data = run.use_artifact("digits:v0")
        with data.file("images.csv") as path, open(path, encoding="utf-8") as file:
            rows = list(csv.reader(file))[: given.images]
        if given.more:
            with open(given.more, encoding="utf-8") as file:
                rows += list(csv.reader(file))
        table = np.array(rows, dtype=float)
        fitted = LogisticRegression(C=given.strength, max_iter=1000).fit(table[:, :-1] / 16, table[:, -1])
        run.log({"accuracy": float(fitted.score(table[:, :-1] / 16, table[:, -1]))})
        model = lineart.Artifact("classifier", type="model", metadata={"C": given.strength})
        with model.new_file("weights.json") as file:
            json.dump({"weights": fitted.coef_.tolist(), "bias": fitted.intercept_.tolist()}, file)
        run.log_artifact(model, derived_from=[data])
        print(f"{model.name}: {run.summary['accuracy']:.4f} on what it was trained on")


if __name__ == "__main__":
    main()
