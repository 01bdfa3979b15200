"""A large file, and many small ones: log, log again, change, restore; beside cp, walk + stat and BLAKE3.

python benchmarks/files.py [--folder DIR] [--mib 2048] [--files 20000]
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from _measure import MIB, absolute, bench_folder, copy, hash_file, line, seconds, tree_bytes, walk_and_stat

import lineart
from lineart.tracking import Run


def option(name: str, default: int) -> int:
    """A number from the command line."""
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else default


def log(run: Run, path: Path, name: str) -> tuple[float, lineart.Artifact]:
    """Seconds of logging what lies at `path`, and the artifact."""
    made: list[lineart.Artifact] = []
    took = seconds(lambda: made.append(run.log_artifact(path, name=name, type="dataset")))
    return took, made[0]


def large(folder: Path, run: Run, mib: int) -> None:
    """One file of random bytes."""
    source = folder / "large.bin"
    with source.open("wb") as stream:
        for _ in range(mib):
            stream.write(os.urandom(MIB))
        os.fsync(stream.fileno())
    os.utime(source, ns=(10**18, 10**18))  # as files are that were not made a second ago
    copy(source, folder / "warm.bin", flush=True)
    before = copy(source, folder / "copy-1.bin", flush=True)
    first, artifact = log(run, source, "large")
    after = copy(source, folder / "copy-2.bin", flush=True)
    limit = (before + after) / 2
    print(f"one file of {mib} MiB, random bytes; cp + fsync before and after: {before:.2f} s, {after:.2f} s")
    line("first time", first, "cp + fsync", limit, 2.0)
    line("", first, "read + BLAKE3", hash_file(source))
    again, _ = log(run, source, "large")
    absolute("the same again", again, 0.1)
    with source.open("r+b") as stream:
        data = stream.read()
        stream.seek(0)
        stream.write(data[: len(data) // 2] + os.urandom(MIB) + data[len(data) // 2 :])
    del data
    inserted, artifact = log(run, source, "large")
    line(
        "1 MiB inserted in the middle",
        inserted,
        "first time",
        first,
        1.0,
        f"{artifact.stored_bytes / MIB:.2f} MiB stored (goal ≤ 2)",
    )
    plain = copy(source, folder / "copy-3.bin", flush=False)
    took = seconds(lambda: artifact.download(folder / "restored"))
    line("restore", took, "cp", (plain + copy(source, folder / "copy-4.bin", flush=False)) / 2, 1.5)
    subprocess.run(["cmp", str(source), str(folder / "restored" / "large.bin")], check=True)


def many(folder: Path, run: Run, count: int) -> None:
    """Many files of 1 to 16 KiB."""
    source = folder / "many"
    generator = random.Random(1)
    for index in range(count):
        path = source / f"{index % 100:02}" / f"{index:06}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(generator.randbytes(generator.randint(1024, 16384)))
        os.utime(path, ns=(10**18, 10**18))
    size = tree_bytes(source)
    copy(source, folder / "many-warm", flush=False)
    before = copy(source, folder / "many-copy-1", flush=False)
    first, artifact = log(run, source, "many")
    after = copy(source, folder / "many-copy-2", flush=False)
    print(
        f"\n{count} files of 1 to 16 KiB, {size / MIB:.0f} MiB; cp -r before and after: {before:.2f} s, {after:.2f} s"
    )
    line("first time", first, "cp -r", (before + after) / 2, 2.0)
    again, _ = log(run, source, "many")
    absolute("unchanged", again, 0.3)
    line("", again, "walk + stat", walk_and_stat(source))
    changed_bytes = 0
    for path in generator.sample(sorted(source.rglob("*.bin")), count // 100):
        changed_bytes += path.write_bytes(generator.randbytes(path.stat().st_size))
    changed, artifact = log(run, source, "many")
    absolute(
        "1 % changed",
        changed,
        0.5,
        f"{artifact.stored_bytes / changed_bytes:.2f} x the changed bytes (goal ≤ 2)",
    )
    took = seconds(lambda: artifact.download(folder / "many-restored"))
    plain = copy(source, folder / "many-copy-3", flush=False)
    line("restore", took, "cp -r", (plain + before) / 2, 2.0)
    subprocess.run(["diff", "-r", str(source), str(folder / "many-restored")], check=True)
    art = Path(sys.executable).with_name("art")
    one = [str(art), "cat", "many:latest/07/000107.bin"]
    subprocess.run(one, check=True, stdout=subprocess.DEVNULL)
    took = sorted(
        seconds(lambda: subprocess.run(one, check=True, stdout=subprocess.DEVNULL)) for _ in range(5)
    )[2]
    absolute("one file of them, as a whole process", took, 0.15)


def main() -> None:
    """Run both on a store in the folder that is measured."""
    with bench_folder("files") as folder:
        os.environ.update(
            LINEART_STORE=str(folder / "store"), LINEART_CACHE=str(folder / "cache"), LINEART_PROJECT="bench"
        )
        with lineart.init() as run:
            large(folder, run, option("--mib", 2048))
            many(folder, run, option("--files", 20_000))


if __name__ == "__main__":
    main()
