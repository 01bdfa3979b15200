"""An sklearn classifier with config, metrics, tags and its model as an artifact.

python classify_wine.py
"""

import joblib
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import train_test_split

import lineart as wandb  # the one line that changes in a script for Weights & Biases


def main() -> None:
    """Train, log, keep the model."""
    config = {"trees": 60, "max_depth": 4, "seed": 7}
    with wandb.init(project="wine", job_type="train", config=config, tags=["baseline", "forest"]) as run:
        pixels, kinds = load_wine(return_X_y=True)
        data = train_test_split(pixels, kinds, test_size=0.3, random_state=run.config.seed, stratify=kinds)
        train_x, test_x, train_y, test_y = data
        forest = RandomForestClassifier(
            n_estimators=run.config.trees, max_depth=run.config.max_depth, random_state=run.config.seed
        )
        forest.fit(train_x, train_y)
        guessed = forest.predict(test_x)
        run.log(
            {
                "accuracy": accuracy_score(test_y, guessed),
                "f1": f1_score(test_y, guessed, average="macro"),
                "log_loss": log_loss(test_y, forest.predict_proba(test_x)),
            }
        )
        joblib.dump(forest, "forest.joblib")
        model = run.log_model("forest.joblib", name="wine-forest")
    print(f"{run.name}: accuracy {run.summary['accuracy']:.3f}, {model.name} logged")


if __name__ == "__main__":
    main()
