"""Alerts on a threshold: kept with the run, and sent to the addresses in LINEART_ALERTS (or `alerts` in lineart.toml).

python alert_when_low.py
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

import lineart

THRESHOLD = 0.8


def main() -> None:
    """Train on labels that get worse, and say so when the accuracy drops."""
    digits = load_digits()
    random = np.random.default_rng(0)
    with lineart.init(project="alerts") as run:
        for spoilt in (0.0, 0.2, 0.95):
            labels = digits.target[:1000].copy()
            chosen = random.random(1000) < spoilt
            labels[chosen] = random.integers(0, 10, chosen.sum())
            model = SGDClassifier(random_state=0).fit(digits.data[:1000], labels)
            accuracy = model.score(digits.data[1000:], digits.target[1000:])
            run.log({"spoilt": spoilt, "accuracy": accuracy})
            if accuracy < THRESHOLD:
                run.alert(
                    title="Low accuracy",
                    text=f"accuracy {accuracy:.2f} is below {THRESHOLD} with {spoilt:.0%} of the labels spoilt",
                    level=lineart.AlertLevel.WARN,
                    wait_duration=300,
                )
    alerts = lineart.Api().sql("select level, title, text from alerts").fetchall()
    print(f"{len(alerts)} alert: {' · '.join(alerts[0])}")


if __name__ == "__main__":
    main()
