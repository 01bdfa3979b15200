"""Using `latest`, and opening one file of it: only that file is fetched, and the use is recorded.

python use_latest.py
"""

import pandas as pd
from sklearn.datasets import load_iris

import lineart


def main() -> None:
    """Log a table as two files, then read one of them in another run."""
    iris = load_iris(as_frame=True).frame
    with lineart.init(project="iris", job_type="prepare") as run:
        data = lineart.Artifact("iris", type="dataset", metadata={"rows": len(iris)})
        for name, part in {"train.csv": iris[::2], "test.csv": iris[1::2]}.items():
            with data.new_file(name) as file:
                part.to_csv(file, index=False)
        run.log_artifact(data)

    with lineart.init(project="iris", job_type="train") as run:
        artifact = run.use_artifact("iris:latest", role="train")
        with artifact.file("train.csv") as path:
            train = pd.read_csv(path)
        run.log({"rows": len(train), "classes": train["target"].nunique()})
    print(f"{artifact.name} was used by {run.name}: {len(train)} rows, {run.summary['classes']} classes")


if __name__ == "__main__":
    main()
