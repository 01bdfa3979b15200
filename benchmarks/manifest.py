"""A dataset of a million files: log, log again, edit ten files, diff, read one file; with the most memory used.

    python benchmarks/manifest.py [--folder DIR] [--files 1000000]

Each step is a process of its own, as a user would run it, so that its memory is its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from _measure import absolute, bench_folder, line, peak_mib, seconds, walk_and_stat

import lineart

GOAL_MIB = 1536


def make(folder: Path, count: int) -> None:
    """`count` files of 32 different bytes each, a thousand in a folder."""
    for index in range(count):
        place = folder / f"{index // 1000:04}"
        if index % 1000 == 0:
            place.mkdir(parents=True)
        (place / f"{index:07}.txt").write_bytes(b"%032d" % index)


def step(name: str, folder: Path) -> None:
    """One step in this process; prints seconds and memory as JSON."""
    result: dict[str, float] = {}
    if name == "log":
        with lineart.init() as run:
            artifact = lineart.Artifact("million", "dataset")
            result["s"] = seconds(lambda: (artifact.add_dir(folder), run.log_artifact(artifact)))
            result["stored"] = artifact.stored_bytes
    elif name == "diff":
        api = lineart.Api()
        before, after = api.artifact("million:v0"), api.artifact("million:v1")
        result["s"] = seconds(lambda: result.update(changes=len(before.diff(after).changes)))
    else:
        artifact = lineart.Api().artifact("million:latest")
        result["s"] = seconds(lambda: artifact.open("0100/0100123.txt").read())
    result["mib"] = peak_mib()
    print(json.dumps(result))


def run_step(name: str, folder: Path) -> dict[str, float]:
    """Run a step as a process."""
    done = subprocess.run(
        [sys.executable, __file__, "--step", name, str(folder)], check=True, stdout=subprocess.PIPE, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Run all steps on a store in the folder that is measured."""
    if "--step" in sys.argv:
        at = sys.argv.index("--step")
        step(sys.argv[at + 1], Path(sys.argv[at + 2]))
        return
    count = int(sys.argv[sys.argv.index("--files") + 1]) if "--files" in sys.argv else 1_000_000
    with bench_folder("manifest") as folder:
        os.environ.update(
            LINEART_STORE=str(folder / "store"), LINEART_CACHE=str(folder / "cache"), LINEART_PROJECT="bench"
        )
        source = folder / "files"
        making = seconds(lambda: make(source, count))
        print(f"{count} files of 32 bytes; peak memory goal < {GOAL_MIB} MiB")
        found = run_step("log", source)
        line("first time", found["s"], "making the files", making, note=f"{found['mib']:.0f} MiB")
        found = run_step("log", source)
        line(
            "again, unchanged",
            found["s"],
            "walk + stat",
            walk_and_stat(source),
            note=f"{found['mib']:.0f} MiB",
        )
        for index in range(0, count, count // 10):
            (source / f"{index // 1000:04}" / f"{index:07}.txt").write_bytes(b"changed")
        found = run_step("log", source)
        absolute(
            "ten files changed",
            found["s"],
            note=f"{found['mib']:.0f} MiB, {found['stored']:.0f} bytes stored",
        )
        found = run_step("diff", source)
        absolute(
            f"diff of the two versions ({found['changes']:.0f} changes)",
            found["s"],
            note=f"{found['mib']:.0f} MiB",
        )
        found = run_step("read", source)
        absolute("read one file", found["s"], note=f"{found['mib']:.0f} MiB")


if __name__ == "__main__":
    main()
