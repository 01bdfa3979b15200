"""Garbage for the parsers of what a store holds: executions a second, the slowest, memory, and what was found.

    python benchmarks/fuzz.py [--seconds 60] [--target NAME]… [--seed N] [--atheris]

A finding is an exception that is none of Lineart's, or an execution of more than two seconds; it is printed with the
bytes that led to it, and the exit status is 1. The targets and their seeds are those of `tests/fuzz_targets.py`. With
`--atheris` (``pip install atheris``, Linux) one target is fuzzed by coverage until the time is over.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fuzz_targets import TARGETS, Target, fault_of, mutated

SLOW_S = 2.0
_KEPT = 200  # variations that are varied further


def fuzz(target: Target, seconds: float, source: random.Random) -> tuple[int, float, list[str]]:
    """Executions, the seconds of the slowest, and what was found, once for each place in the code."""
    executions, slowest_s, found = 0, 0.0, dict[str, str]()
    pool = list(target.seeds)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        data = mutated(source.choice(pool), source)[: 1 << 20]
        begin = time.perf_counter()
        fault = fault_of(target, data)
        took_s = time.perf_counter() - begin
        executions += 1
        slowest_s = max(slowest_s, took_s)
        if fault is not None:
            where = traceback.format_exception(fault)[-2:]
            found.setdefault(where[0], f"{''.join(where)}    {data[:300]!r}")
        elif took_s > SLOW_S:
            found.setdefault("slow", f"{took_s:.1f} s for {data[:300]!r}")
        if source.random() < 0.02 and len(data) < 100_000:
            pool[len(target.seeds) :] = [*pool[len(target.seeds) :], data][-_KEPT:]
    return executions, slowest_s, list(found.values())


def with_atheris(target: Target, seconds: float) -> None:
    """Fuzz by coverage; does not return."""
    import atheris  # type: ignore[import-not-found]  # optional, see above

    def run(data: bytes) -> None:
        fault = fault_of(target, data)
        if fault is not None:
            raise fault

    atheris.instrument_all()  # pyright: ignore[reportAttributeAccessIssue]  # optional
    atheris.Setup([sys.argv[0], f"-max_total_time={int(seconds)}", "-rss_limit_mb=2048"], run)
    atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz every target for its share of the time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--target", action="append", choices=sorted(TARGETS))
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--atheris", action="store_true")
    given = parser.parse_args(arguments)
    names = given.target or sorted(TARGETS)
    if given.atheris:
        with_atheris(TARGETS[names[0]], given.seconds)
    seed = random.SystemRandom().getrandbits(32) if given.seed is None else given.seed
    print(
        f"seed {seed}\n{'target':<12} {'executions':>10} {'a second':>9} {'slowest ms':>11} {'peak MiB':>9} findings"
    )
    failed = False
    for name in names:
        share_s = given.seconds / len(names)
        executions, slowest_s, found = fuzz(TARGETS[name], share_s, random.Random(f"{seed} {name}"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        rate, slowest_ms = executions / share_s, slowest_s * 1e3
        print(f"{name:<12} {executions:>10,} {rate:>9,.0f} {slowest_ms:>11.1f} {peak:>9} {len(found)}")
        for finding in found:
            print(f"  {finding}")
        failed = failed or bool(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
