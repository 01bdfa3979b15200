"""The training script of `art demo`, which copies it into its folder and runs it there: code as people write it.

python train.py all-images --strength 0.05
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Pixels = np.ndarray[Any, Any]


def read_digits(folder: Path) -> tuple[Pixels, Pixels]:
    """Pixels (images x 64, 0 to 1) and labels of the files `<digit>/<number>.pgm`, in the order of their numbers."""
    paths = sorted(folder.glob("*/*.pgm"), key=lambda path: path.name)
    pixels = [np.frombuffer(path.read_bytes()[-64:], dtype="uint8") for path in paths]
    return np.stack(pixels) / 16.0, np.array([int(path.parent.name) for path in paths])


def train(pixels: Pixels, labels: Pixels, strength: float) -> dict[str, Any]:
    """Multinomial logistic regression; its weights as lists, so that no pickle is needed to load it."""
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=strength, max_iter=500).fit(pixels, labels)
    return {
        "classes": fitted.classes_.tolist(),
        "weights": fitted.coef_.tolist(),
        "bias": fitted.intercept_.tolist(),
    }


def score(weights: dict[str, Any], pixels: Pixels, labels: Pixels) -> float:
    """The share of images that the weights name right."""
    values = pixels @ np.array(weights["weights"]).T + np.array(weights["bias"])
    return float(np.mean(np.array(weights["classes"])[values.argmax(axis=1)] == labels))


def main() -> None:
    """Train on the newest digits, and log the model."""
    import lineart

    parser = argparse.ArgumentParser(description="Train a classifier on the newest digits.")
    parser.add_argument("name", help="the run's name")
    parser.add_argument("--images", type=int, help="use only so many")
    parser.add_argument("--strength", type=float, default=1.0, help="the inverse of the regularisation")
    options = parser.parse_args()
    config = {"images": options.images, "C": options.strength}
    with lineart.init(job_type="train", name=options.name, config=config) as run:
        dataset = run.use_artifact("digits:latest", role="train")
        pixels, labels = read_digits(Path(dataset.download("from-store")) / "train")
        used = labels[: options.images]
        weights = train(pixels[: options.images], used, options.strength)
        model = lineart.Artifact("classifier", "model", metadata={"images": len(used), "C": options.strength})
        with model.new_file("weights.json") as file:
            json.dump(weights, file)
        run.log_artifact(model, derived_from=[dataset])


if __name__ == "__main__":
    main()
