"""Importing does nothing and is cheap: no heavy modules, threads, files, handlers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

# Third-party modules that `import lineart` may load.
ALLOWED: frozenset[str] = frozenset()

# Some are costly, some connect or start threads; sqlite3 is of the standard library and still not wanted.
HEAVY = {"blake3", "click", "duckdb", "fsspec", "networkx", "numpy", "pandas", "rich", "sqlite3"}

# What `art --version` must not pay for; click it needs.
HEAVY_FOR_VERSION = {"duckdb", "fsspec", "networkx", "rich"}

IMPORT = """
import json, logging, signal, sys, threading
before = set(sys.modules)
signals = {number: signal.getsignal(number) for number in signal.valid_signals()}
hooks = (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr, sys.path[:])
import lineart
json.dump({
    "modules": sorted(set(sys.modules) - before),
    "threads": threading.active_count(),
    "handlers": len(logging.getLogger().handlers),
    "signals": signals == {number: signal.getsignal(number) for number in signal.valid_signals()},
    "hooks": hooks == (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr, sys.path[:]),
}, sys.stdout)
"""

VERSION = """
import json, sys
from lineart.cli.main import main
sys.argv = ["art", "--version"]
try:
    main()
except SystemExit as end:
    print()
    print(json.dumps({"status": end.code, "modules": sorted(sys.modules)}))
"""


def run(code: str, directory: Path) -> str:
    """The output of `code` in a new interpreter whose home and working directory are `directory`."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("LINEART", "XDG_"))
    }
    environment |= {"HOME": str(directory), "USERPROFILE": str(directory), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-P", "-c", code],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def top_level(modules: list[str]) -> set[str]:
    """The distributions that modules come from, roughly: the part before the first dot."""
    return {name.partition(".")[0] for name in modules}


def test_import_loads_nothing_heavy(tmp_path: Path) -> None:
    loaded = top_level(json.loads(run(IMPORT, tmp_path))["modules"])
    assert not loaded & HEAVY
    assert loaded - {"lineart"} - set(sys.stdlib_module_names) == ALLOWED


def test_import_has_no_effects(tmp_path: Path) -> None:
    report = json.loads(run(IMPORT, tmp_path))
    assert report["threads"] == 1
    assert report["handlers"] == 0
    assert report["signals"], "import lineart changed a signal handler"
    assert report["hooks"], "import lineart changed an exception hook, a standard stream or sys.path"
    assert list(tmp_path.iterdir()) == []


def test_version_command_is_cheap(tmp_path: Path) -> None:
    shown, _, report = run(VERSION, tmp_path).strip().rpartition("\n")
    assert "0." in shown
    result = json.loads(report)
    assert result["status"] in (0, None)
    assert not top_level(result["modules"]) & HEAVY_FOR_VERSION
    assert list(tmp_path.iterdir()) == []
