"""Reading all runs of a project: name, config, summary and history, as tables.

python five_runs.py && python compare_runs.py
"""

import pandas as pd

import lineart


def main() -> None:
    """Print the runs of five_runs.py, best first, and how the best one learned."""
    runs = lineart.Api().runs("rates", filters={"state": "finished"}, order="-summary_metrics.accuracy")
    table = pd.DataFrame(
        [{"name": run.display_name, **run.config, "accuracy": run.summary["accuracy"]} for run in runs]
    )
    print(table.to_string(index=False))
    history = pd.DataFrame({run.config["lr"]: run.history(keys=["accuracy"])["accuracy"] for run in runs})
    print(history.round(3).to_string())
    print(f"{len(runs)} runs, {history.size} values")


if __name__ == "__main__":
    main()
