"""A store in a bucket 20 ms away: seconds, and the requests that each thing costs.

    python benchmarks/bucket.py [--files 100000] [--mib 1024] [--delay-ms 20]

A local S3 server (moto, in a process of its own) behind `proxy.py`. Each figure is of a fresh process's caches: "empty"
means that the machine's cache was removed, "warm" that the same was read before.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from _measure import MIB, absolute, bench_folder, line
from proxy import RunningProxy, running_proxy

_SERVER = """
import sys
sys.path.insert(0, sys.argv[1])
import s3server
with s3server.moto() as server:
    print(server.endpoint, flush=True)
    sys.stdin.read()
"""
_BUCKET = "team"


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """The endpoint of an S3 server with an empty bucket ``team``."""
    tests = Path(__file__).parent.parent / "tests"
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(tests)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(10)


def measured(proxy: RunningProxy, work: Callable[[], object]) -> tuple[float, dict[str, Any]]:
    """Seconds and requests of `work`."""
    proxy.reset()
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin, proxy.stats()


def art(folder: Path, *arguments: str) -> None:
    """Run `art` in a process of its own."""
    command = [str(Path(sys.executable).with_name("art")), *arguments]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)


def small_files(folder: Path, count: int) -> Path:
    """`count` files of 4 KiB of random bytes in folders of a thousand."""
    root = folder / "small"
    for start in range(0, count, 1000):
        (root / f"{start // 1000:04}").mkdir(parents=True)
        for number in range(start, min(start + 1000, count)):
            (root / f"{start // 1000:04}" / f"{number:07}.bin").write_bytes(os.urandom(4096))
    return root


def many_files(proxy: RunningProxy, folder: Path, count: int) -> None:
    """Log them, read them back, read one."""
    root = small_files(folder, count)
    goals = (15 * count / 100_000, 15 * count / 100_000)
    took, stats = measured(proxy, lambda: art(folder, "put", str(root), "-n", "many", "-t", "dataset"))
    absolute(f"{count:,} files of 4 KiB logged", took, goals[0], _requests(stats, 40))
    took, stats = measured(proxy, lambda: art(folder, "put", str(root), "-n", "many", "-t", "dataset"))
    absolute("... the same again", took, None, _requests(stats))
    cache = Path(os.environ["LINEART_CACHE"])
    shutil.rmtree(cache)
    took, stats = measured(proxy, lambda: art(folder, "get", "many:latest", "--root", str(folder / "back")))
    absolute("... read back, empty cache", took, goals[1], _requests(stats))
    for name in ("0000/0000007.bin", f"{(count - 1) // 1000:04}/{count - 1:07}.bin"):
        assert (folder / "back" / name).read_bytes() == (root / name).read_bytes()
    shutil.rmtree(cache)
    middle = f"many:latest/{count // 2000:04}/{count // 2:07}.bin"
    took, stats = measured(proxy, lambda: art(folder, "cat", middle))
    absolute("... one file of them, empty cache", took, None, _requests(stats, 8))
    took, stats = measured(proxy, lambda: art(folder, "cat", middle))
    absolute("... the same file, warm cache", took, None, _requests(stats, 1))


def large_file(proxy: RunningProxy, folder: Path, mib: int, options: dict[str, Any]) -> None:
    """One file up and down, beside s3fs alone."""
    import s3fs

    source = folder / "large.bin"
    with source.open("wb") as stream:
        for _ in range(mib):
            stream.write(os.urandom(MIB))
    bare = s3fs.S3FileSystem(**options, skip_instance_cache=True)
    up, _ = measured(proxy, lambda: bare.put_file(str(source), f"{_BUCKET}/bare.bin"))
    down, _ = measured(proxy, lambda: bare.get_file(f"{_BUCKET}/bare.bin", str(folder / "bare.bin")))
    took, stats = measured(proxy, lambda: art(folder, "put", str(source), "-n", "large", "-t", "dataset"))
    line(f"a file of {mib} MiB up", took, "s3fs put_file", up, 1 / 0.6, _requests(stats))
    shutil.rmtree(os.environ["LINEART_CACHE"])
    took, stats = measured(proxy, lambda: art(folder, "get", "large:latest", "--root", str(folder / "large")))
    line("... down, empty cache", took, "s3fs get_file", down, 1 / 0.6, _requests(stats))


def _requests(stats: dict[str, Any], goal: int | None = None) -> str:
    counts = " ".join(f"{name} {count}" for name, count in sorted(stats["counts"].items()))
    wanted = "" if goal is None else f" (goal ≤ {goal}{'' if stats['total'] <= goal else '  MISSED'})"
    if "--show" in sys.argv:
        print("\n".join(stats["shown"]))
    return f"{stats['total']} requests{wanted}: {counts}"


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--delay-ms", type=float, default=20.0)
    parser.add_argument("--folder")
    parser.add_argument("--show", action="store_true", help="print every request")
    given = parser.parse_args()
    with bench_folder("bucket") as folder, running_server() as server, running_proxy(server) as proxy:
        os.environ.update(
            AWS_ACCESS_KEY_ID="testing",
            AWS_SECRET_ACCESS_KEY="testing",
            AWS_DEFAULT_REGION="us-east-1",
            AWS_ENDPOINT_URL=proxy.endpoint,
            LINEART_STORE=f"s3://{_BUCKET}/store",
            LINEART_CACHE=str(folder / "cache"),
            HOME=str(folder),
        )
        options: dict[str, Any] = {"client_kwargs": {"endpoint_url": proxy.endpoint}}
        import s3fs

        s3fs.S3FileSystem(**options, skip_instance_cache=True).mkdir(_BUCKET)
        proxy.set(delay_ms=given.delay_ms)
        art(folder, "init", os.environ["LINEART_STORE"], "--no-config")
        if given.files:
            many_files(proxy, folder, given.files)
        if given.mib:
            large_file(proxy, folder, given.mib, options)


if __name__ == "__main__":
    main()
