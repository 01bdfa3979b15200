"""Runs in a notebook: executed cells are kept, `init` again ends the run before, a run shows itself."""

from __future__ import annotations

import subprocess
import sys

from lineart.tracking.run_files import RunFiles
from lineart.tracking.run_log import read_run
from run_reading import parts, state, values

# An IPython shell with the one attribute that makes a kernel of it.
NOTEBOOK = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.kernel = object()
for cell in [
    "import lineart",
    "run = lineart.init(project='team/note', id='first')",
    "run.log({'a': 1})",
    "run = lineart.init(project='team/note', id='second')",
    "for step in range(3): run.log({'b': step})",
    "shown = run._repr_html_()",
    "run.finish()",
]:
    assert shell.run_cell(cell, store_history=True).success
assert "second" in shell.user_ns["shown"]
"""


def test_cells_and_runs_of_a_notebook() -> None:
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NOTEBOOK], check=True, timeout=60, capture_output=True
    )
    assert (state("team/note/first"), state("team/note/second")) == ("finished", "finished")
    assert values("team/note/first", "a") == [1]
    assert values("team/note/second", "b") == [0, 1, 2]
    workspace, project, run = parts("team/note/second")
    record = read_run(workspace.project(), run)
    assert record is not None
    files = RunFiles(workspace.store, project, run, record.files)
    (notebook,) = [path for path in files.paths() if path.endswith(".ipynb")]
    assert "for step in range(3)" in files.open(notebook).read().decode()
