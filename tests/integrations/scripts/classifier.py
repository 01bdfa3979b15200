"""A classifier with config, metrics, a confusion matrix and curves, as such scripts are written for the W&B SDK."""
# pyright: reportMissingImports=false

import argparse

import numpy as np
import wandb
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--strength", type=float, default=0.5)
    parser.add_argument("--iterations", type=int, default=60)
    arguments = parser.parse_args()

    wandb.login()
    wandb.init(project="digits", config=vars(arguments), tags=["baseline", "linear"], notes="first try")
    config = wandb.config

    features, labels = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(features / 16, labels, random_state=0)
    model = LogisticRegression(C=config.strength, max_iter=config["iterations"])
    for part in (0.25, 0.5, 1.0):
        count = int(len(train_x) * part)
        model.fit(train_x[:count], train_y[:count])
        chances = model.predict_proba(test_x)
        wandb.log(
            {
                "samples": count,
                "test/accuracy": accuracy_score(test_y, model.predict(test_x)),
                "test/loss": log_loss(test_y, chances),
                "confidence": wandb.Histogram(chances.max(axis=1)),
            }
        )
    names = [str(digit) for digit in range(10)]
    wandb.log(
        {
            "matrix": wandb.plot.confusion_matrix(
                y_true=test_y, preds=np.argmax(chances, axis=1), class_names=names
            ),
            "roc": wandb.plot.roc_curve(test_y, chances, labels=names),
        }
    )
    wandb.run.summary["best"] = True
    wandb.finish()


if __name__ == "__main__":
    main()
