"""Five runs in one process: each `init` starts a run of its own.

python five_runs.py
"""

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler

import lineart as wandb


def main() -> None:
    """The same training with five learning rates."""
    inputs, labels = load_breast_cancer(return_X_y=True)
    inputs = StandardScaler().fit_transform(inputs)
    for rate in (0.0001, 0.001, 0.01, 0.1, 1.0):
        run = wandb.init(project="rates", group="sweep-by-hand", config={"lr": rate}, reinit=True)
        model = SGDClassifier(learning_rate="constant", eta0=rate, random_state=0)
        for epoch in range(5):
            model.partial_fit(inputs[:400], labels[:400], classes=[0, 1])
            wandb.log({"epoch": epoch, "accuracy": model.score(inputs[400:], labels[400:])})
        print(f"lr {rate}: {run.summary['accuracy']:.3f}")
        wandb.finish()


if __name__ == "__main__":
    main()
