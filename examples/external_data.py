"""Data that stays where it is: logged as references, fetched when asked for, refused when it has changed.

python external_data.py
"""

from pathlib import Path

import lineart

STORE = "./store"


def main() -> None:
    """Log a folder by reference, read it back, change a file, and be told."""
    lake = Path("lake").absolute()
    lake.mkdir(exist_ok=True)
    for month in ("01", "02", "03"):
        (lake / f"sales-{month}.csv").write_text(f"month,amount\n{month},100\n")

    with lineart.init(project="external", store=STORE) as run:
        data = lineart.Artifact("sales", type="dataset")
        # The same call takes s3://bucket/prefix, gs://…, https://… and any other fsspec scheme.
        entries = data.add_reference(lake.as_uri())
        run.log_artifact(data)
    print(
        f"{data.name}: {len(entries)} files stay in place, {data.stored_bytes} bytes stored for the list of them"
    )

    folder = Path(data.download("copy"))
    print("fetched:", sorted(path.name for path in folder.iterdir()))

    (lake / "sales-02.csv").write_text("month,amount\n02,999\n")
    try:
        data.download("copy-2")
    except lineart.Error as error:
        print("refused:", error)


if __name__ == "__main__":
    main()
