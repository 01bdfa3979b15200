"""What cannot be said by a number: pictures, figures, histograms, tables with pictures, confusion matrix, ROC and PR.

python look_at_results.py
"""

import matplotlib as mpl
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import lineart

mpl.use("Agg")
import matplotlib.pyplot as plt


def main() -> None:
    """Train, and log what the results look like."""
    digits = load_digits()
    model = LogisticRegression(max_iter=300).fit(digits.data[:300] / 16, digits.target[:300])
    images, labels = digits.images[300:], digits.target[300:]
    chances = model.predict_proba(digits.data[300:] / 16)
    guessed = chances.argmax(1)
    names = [str(digit) for digit in range(10)]

    with lineart.init(project="looks", settings={"system": False}) as run:
        wrong = np.flatnonzero(guessed != labels)
        run.log(
            {
                "mistakes": [
                    lineart.Image(images[at] / 16, caption=f"{labels[at]} taken for {guessed[at]}")
                    for at in wrong[:8]
                ],
                "confidence": lineart.Histogram(chances.max(1)),
            }
        )

        figure, axes = plt.subplots()
        axes.imshow(model.coef_[3].reshape(8, 8))
        axes.set_title("what makes a three")
        run.log({"weights": figure})
        plt.close(figure)

        table = lineart.Table(columns=["image", "label", "guess", "chance"])
        for at in range(100):
            table.add_data(lineart.Image(images[at] / 16), labels[at], guessed[at], chances[at].max())
        run.log({"guesses": table})

        run.log(
            {
                "confusion": lineart.plot.confusion_matrix(y_true=labels, preds=guessed, class_names=names),
                "roc": lineart.plot.roc_curve(labels, chances, labels=names),
                "pr": lineart.plot.pr_curve(labels, chances, labels=names),
                "by digit": lineart.plot.bar(
                    lineart.Table(
                        columns=["digit", "mistakes"],
                        data=[[name, int((labels[wrong] == int(name)).sum())] for name in names],
                    ),
                    "digit",
                    "mistakes",
                    title="Mistakes by digit",
                ),
            }
        )
    print(f"{run.name}: {len(wrong)} mistakes, {len(run.summary)} things to look at")


if __name__ == "__main__":
    main()
