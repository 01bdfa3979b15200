"""Copying a store: large packs beside `cp` and the hash of the same bytes, many versions and runs, and a second push.

python benchmarks/transfer.py [--folder DIR] [--mib 1024] [--versions 2000]
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from _measure import MIB, absolute, bench_folder, copy, hash_file, line, seconds, tree_bytes

import lineart
from lineart.artifacts import LogRequest, Project, ProjectName
from lineart.artifacts.decisions import decide_log
from lineart.artifacts.draft import Draft, LocalFile
from lineart.artifacts.publish import publish
from lineart.storage import Store
from lineart.tracking import Workspace, find_settings, transfer

NAME = ProjectName("bench", "transfer")


def option(name: str, default: int) -> int:
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def opened(folder: Path) -> Workspace:
    return Workspace.open(find_settings(store=str(folder), project=str(NAME)), create=True)


def large(folder: Path, mib: int) -> None:
    """One version with `mib` MiB that do not shrink."""
    data = folder / "data"
    data.mkdir()
    source = random.Random(1)
    for number in range(max(mib // 64, 1)):
        (data / f"{number}.bin").write_bytes(source.randbytes(min(mib, 64) * MIB))
    artifact = lineart.Artifact("data", "dataset")
    artifact.add_dir(data)
    artifact.save()
    artifact.wait()


def many(store: Store, folder: Path, count: int) -> None:
    """`count` versions of one small file each, each with a pack of its own."""
    project = Project(store, NAME)
    path = folder / "small.txt"
    for number in range(count):
        path.write_text(f"{number}\n" * 20)
        draft = Draft()
        draft.put("small.txt", LocalFile(str(path)))
        _, content = publish(store, draft)
        wish = LogRequest("small", "dataset", content)
        project.commit(lambda state, wish=wish: decide_log(state, wish))


def push(source: Path, target: Path) -> transfer.Report:
    return transfer.copy(opened(source), opened(target), transfer.Choice(everything=True))


def main() -> None:
    """Print the figures."""
    mib, versions = option("--mib", 1024), option("--versions", 2000)
    with bench_folder("transfer") as folder:
        source = folder / "store"
        os.environ |= {
            "LINEART_STORE": str(source),
            "LINEART_CACHE": str(folder / "cache"),
            "LINEART_PROJECT": str(NAME),
        }
        large(folder, mib)
        packs = source / "packs"
        size = tree_bytes(packs)
        flushed_s = copy(packs, folder / "copied", flush=True)
        hashed_s = sum(hash_file(path) for path in packs.rglob("*.pack"))
        took_s = seconds(lambda: push(source, folder / "first"))
        what = f"push, {size / MIB:.0f} MiB in {sum(1 for _ in packs.rglob('*.pack'))} packs"
        line(what, took_s, "cp -r and fsync", flushed_s, 2.0, f"{size / took_s / 1e6:.0f} MB/s")
        line(what, took_s, "cp, fsync, then hash", flushed_s + hashed_s, 1.5)
        many(opened(source).store, folder, versions)
        several = copy(packs, folder / "copied again", flush=True)
        took_s = seconds(lambda: push(source, folder / "first"))
        line(f"push, {versions} new versions, as many packs", took_s, "cp -r and fsync of all", several)
        took_s = seconds(lambda: push(source, folder / "first"))
        absolute(f"push again, {versions + 1} versions there", took_s, 1.0)


if __name__ == "__main__":
    main()
