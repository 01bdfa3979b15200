"""How `store-format-1` was made, once. Not to be run again: what lies there is what released clients have written."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import lineart
import lineart.artifacts.project
import lineart.tracking.run_capture


def large() -> bytes:
    """4 MB that are cut into chunks and shrink well."""
    return b"".join(b"%08d,a line of a table that goes on and on\n" % number for number in range(80_000))


def main(target: str) -> None:
    """Make the store; who and where made it is left out."""
    lineart.artifacts.project.this_actor = lambda: {"user": "ada", "host": "laptop"}
    lineart.tracking.run_capture.quick_facts = lambda *_: {
        "command": ["train.py"],
        "python": "3.11.7",
    }
    os.environ.update(LINEART_STORE=target, LINEART_PROJECT="frozen", LINEART_CACHE=f"{target}-cache")
    with lineart.init(job_type="prepare", id="run-a", name="prepare", config={"seed": 7}) as run:
        data = lineart.Artifact("table", "dataset", description="rows", metadata={"rows": 80_000})
        for name, content in {"large.csv": large(), "ü/small.txt": b"small", "empty": b""}.items():
            with data.new_file(name, "xb") as file:
                file.write(content)
        data.add_reference("https://example.invalid/rows.csv", name="elsewhere.csv", checksum=False)
        run.log_artifact(data, tags=["raw"])
    with lineart.init(job_type="train", id="run-b", name="train") as run:
        source = run.use_artifact("table:v0", role="train")
        for text in ("one", "two", "three"):
            model = lineart.Artifact("model", "model")
            with model.new_file("weights.txt") as file:
                file.write(text)
            run.log_artifact(model, derived_from=[source])
        run.log({"accuracy": 0.5})
    api = lineart.Api()
    first = api.artifact("model:v1")
    first.aliases.append("production")
    first.save()
    api.artifact("model:v0").delete()


if __name__ == "__main__":
    main(str(Path(sys.argv[1])))
