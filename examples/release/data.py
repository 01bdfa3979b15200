"""Log scikit-learn's handwritten digits as two datasets: `digits` to train on, `golden` to judge by.

python data.py
"""

import csv

from sklearn.datasets import load_digits

import lineart


def main() -> None:
    """Every fifth image is kept back for `golden`, which never changes."""
    digits = load_digits()
    with lineart.init(job_type="prepare") as run:
        for name, keep in (("digits", False), ("golden", True)):
            made = lineart.Artifact(
                name, type="dataset", description="8x8 pixels and the digit, one image a row"
            )
            with made.new_file("images.csv") as file:
                writer = csv.writer(file, lineterminator="\n")
                for number, (pixels, label) in enumerate(zip(digits.data, digits.target, strict=True)):
                    if (number % 5 == 0) is keep:
                        writer.writerow([*map(int, pixels), label])
            run.log_artifact(made)
            print(f"{made.name}: {made.size} bytes")


if __name__ == "__main__":
    main()
