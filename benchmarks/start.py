"""What it costs to start: `art --version`, `import lineart`, beside bare Python in the same run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from _measure import absolute, seconds


def median(command: list[str], runs: int = 15) -> float:
    """The middle of some runs of a whole process, after one to warm up."""

    def once() -> None:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    once()
    return sorted(seconds(once) for _ in range(runs))[runs // 2]


def main() -> None:
    """Print the figures."""
    bare = median([sys.executable, "-c", "pass"])
    absolute("bare Python", bare)
    absolute("art --version", median([str(Path(sys.executable).with_name("art")), "--version"]), 0.15)
    absolute(
        "import lineart, beyond bare Python", median([sys.executable, "-c", "import lineart"]) - bare, 0.06
    )
    work = "import lineart; lineart.Artifact"
    absolute("first use of lineart, beyond bare Python", median([sys.executable, "-c", work]) - bare)


if __name__ == "__main__":
    main()
