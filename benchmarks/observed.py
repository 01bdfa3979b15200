"""What observing inputs costs: opening files with and without the hook, beside the same calls without Lineart.

    python benchmarks/observed.py [--folder DIR] [--files 20000]

Each figure is the best of ten rounds, nanoseconds of the thread's processor time a call; the limit is the same call in
a process without a hook. The first opening of a file below a data root is noted with one `write(2)`, every later one is
a look into a dictionary.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from _measure import bench_folder

WORKER = """
import sys, time
import lineart
place, files, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
quiet = {"console": "off"} | dict.fromkeys(["system", "git", "packages", "environment", "save_code"], False)
if how != "plain":
    roots = {"idle": [], "outside": [f"{place}/other"]}.get(how, [f"{place}/data"])
    run = lineart.init(project="bench", store=f"{place}/store", settings={**quiet, "observe": roots})
names = [f"{place}/data/{number}" for number in range(files)]
def once():
    start = time.thread_time()
    for name in names:
        open(name, "rb", 0).close()
    return (time.thread_time() - start) / files * 1e9
def other():
    start = time.thread_time()
    for _ in range(100_000):
        id(names)  # an event that is none of ours
    return (time.thread_time() - start) * 1e4
first, again, event = once(), min(once() for _ in range(10)), min(other() for _ in range(10))
start = time.perf_counter()
if how != "plain":
    run.finish()
print(first, again, event, time.perf_counter() - start)
"""


def measured(place: Path, files: int, how: str) -> tuple[float, ...]:
    """Nanoseconds of the first open, of a later one, and of another audited call; seconds of the end of the run."""
    command = [sys.executable, "-c", WORKER, str(place), str(files), how]
    environment = {**os.environ, "HOME": str(place)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return tuple(float(word) for word in done.stdout.split())


def main() -> None:
    """Measure."""
    files = int(sys.argv[sys.argv.index("--files") + 1]) if "--files" in sys.argv else 20_000
    with bench_folder("observed") as place:
        (place / "data").mkdir()
        for number in range(files):
            (place / "data" / str(number)).write_bytes(b"x" * 100)
        time.sleep(2.1)  # files that were just written are not trusted by the stat cache
        plain = measured(place, files, "plain")
        print(f"open and close without Lineart's hook: {plain[1]:,.0f} ns; id(): {plain[2]:,.0f} ns")
        for how, title in (
            ("idle", "a run that does not observe"),
            ("outside", "a file outside of the data roots"),
            ("inside", "a file below a data root"),
        ):
            first, again, event, end_s = measured(place, files, how)
            print(
                f"{title:<34} open {again:8,.0f} ns  {again / plain[1]:5.2f}x"
                f"   first open {first:8,.0f} ns  {first / plain[0]:5.2f}x"
                f"   id() {event:5,.0f} ns   finish {end_s:6.3f} s"
            )


if __name__ == "__main__":
    main()
