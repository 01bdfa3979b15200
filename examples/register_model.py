"""A model artifact that is linked to a registered name: the link has versions and aliases of its own.

python register_model.py
"""

import json

import numpy as np
from sklearn.datasets import load_diabetes

import lineart


def main() -> None:
    """Fit two models, link both, point `staging` to the better one."""
    inputs, target = load_diabetes(return_X_y=True)
    errors = {}
    for strength in (10.0, 0.01):
        with lineart.init(project="diabetes", job_type="train", config={"ridge": strength}) as run:
            penalty = strength * np.eye(inputs.shape[1])
            weights = np.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ (target - target.mean()))
            error = float(np.sqrt(np.mean((inputs @ weights + target.mean() - target) ** 2)))
            run.log({"rmse": error})
            model = lineart.Artifact("ridge", type="model", metadata={"rmse": error})
            with model.new_file("weights.json") as file:
                json.dump(weights.tolist(), file)
            run.log_artifact(model)
            best = error < min(errors.values(), default=float("inf"))
            errors[strength] = error
            link = run.link_artifact(
                model, "model-registry/diabetes-risk", aliases=["staging"] if best else []
            )
            print(f"{model.name} (rmse {error:.1f}) is {link.qualified_name} {link.aliases}")

    with lineart.init(project="diabetes", job_type="serve") as run:
        chosen = run.use_artifact("model-registry/diabetes-risk:staging")
        print(f"serving {chosen.name}, made by {chosen.source_name}")


if __name__ == "__main__":
    main()
