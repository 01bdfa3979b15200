from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

WORK = """
import threading, time
from lineart.cli.progress import progress
with progress("storing", lambda: 2_000_000) as advance:
    for _ in range({steps}):
        threads = [threading.Thread(target=advance, args=(50_000,)) for _ in range(2)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        time.sleep(0.05)
import sys
print("rich" in sys.modules)
"""


def shown(steps: int, *, terminal: bool) -> tuple[str, str]:
    """Standard output, and what appeared on a terminal (or in a pipe) as standard error."""
    controller, end = pty.openpty() if terminal else os.pipe()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", WORK.format(steps=steps)],
        stdout=subprocess.PIPE,
        stderr=end,
        text=True,
        env=environment,
        check=True,
    )
    os.set_blocking(controller, False)
    try:
        seen = os.read(controller, 1 << 20).decode()
    except BlockingIOError:
        seen = ""
    os.close(end)
    os.close(controller)
    return done.stdout.strip(), seen


def test_long_work_on_a_terminal_shows_bytes_and_speed() -> None:
    loaded, seen = shown(20, terminal=True)
    assert loaded == "True"
    assert "storing" in seen
    assert "/2.0 MB" in seen
    assert "MB/s" in seen


@pytest.mark.parametrize("steps, terminal", [(2, True), (20, False)])
def test_short_work_and_pipes_show_nothing(steps: int, terminal: bool) -> None:
    assert shown(steps, terminal=terminal) == ("False", "")
