"""Dataset, training, model, evaluation: four versions and three runs, each knowing what it came from.

python train_digits.py
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import lineart

STORE = "./store"


def prepare() -> lineart.Artifact:
    """Log the digits as two arrays for training and two for testing."""
    digits: Any = load_digits()
    split = len(digits.target) * 4 // 5
    folder = Path("digits")
    for part, rows in {"train": slice(None, split), "test": slice(split, None)}.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        np.save(folder / part / "pixels.npy", digits.data[rows] / 16)
        np.save(folder / part / "labels.npy", digits.target[rows])
    with lineart.init(project="digits", job_type="prepare", store=STORE) as run:
        return run.log_artifact(folder, name="digits", type="dataset")


def load(data: lineart.Artifact, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (images x 64) and labels of one part; only its two files are fetched."""
    folder = Path(data.download("from-store", path_prefix=part)) / part
    return np.load(folder / "pixels.npy"), np.load(folder / "labels.npy")


def train(strength: float) -> lineart.Artifact:
    """Train on the newest dataset and log the weights."""
    with lineart.init(project="digits", job_type="train", store=STORE, config={"C": strength}) as run:
        data = run.use_artifact("digits:latest", role="train")
        fitted = LogisticRegression(C=run.config.C, max_iter=500).fit(*load(data, "train"))
        model = lineart.Artifact("classifier", type="model", metadata={"C": strength})
        with model.new_file("weights.npz", "xb") as file:
            np.savez(file, weights=fitted.coef_, bias=fitted.intercept_)
        return run.log_artifact(model, aliases=["candidate"], derived_from=[data])


def evaluate() -> float:
    """The candidate's accuracy on the test part, logged as a report."""
    with lineart.init(project="digits", job_type="evaluate", store=STORE) as run:
        model = run.use_artifact("classifier:candidate", role="candidate")
        data = run.use_artifact("digits:latest", role="test")
        pixels, labels = load(data, "test")
        with model.open("weights.npz") as file:
            arrays = np.load(file)
            scores = pixels @ arrays["weights"].T + arrays["bias"]
        accuracy = float((scores.argmax(axis=1) == labels).mean())
        run.log({"accuracy": accuracy})
        report = lineart.Artifact("report", type="evaluation", metadata={"accuracy": accuracy})
        with report.new_file("report.json") as file:
            json.dump({"model": model.qualified_name, "accuracy": accuracy}, file)
        run.log_artifact(report, derived_from=[model, data])
        return accuracy


if __name__ == "__main__":
    dataset = prepare()
    model = train(strength=0.1)
    print(f"{model.name} from {dataset.name}: accuracy {evaluate():.3f}")
    print("made from:", [version.name for version in model.upstream()])
    print("led to:   ", [version.name for version in dataset.downstream()])
