"""A dataset that stays in a bucket: the artifact has references; files are fetched when asked for.

python data_in_a_bucket.py s3://bucket/prefix
"""

import sys

import lineart


def main(url: str) -> None:
    """Log the reference, then use it."""
    with lineart.init(project="bucket", job_type="register") as run:
        data = lineart.Artifact("measurements", type="dataset", description="lies in the bucket")
        data.add_reference(url)
        run.log_artifact(data, aliases=["raw"])

    with lineart.init(project="bucket", job_type="train") as run:
        data = run.use_artifact("measurements:raw", role="train")
        folder = data.download("measurements")
    print(f"{data.name}: {len(data.files())} files of {url} in {folder}, {data.file_count} stored here")


if __name__ == "__main__":
    main(sys.argv[1])
