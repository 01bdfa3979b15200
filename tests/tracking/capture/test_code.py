"""Which code is kept with a run."""

from __future__ import annotations

import json
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import nbformat
import pytest

import scenario
from lineart.tracking.capture import executed_cells, is_notebook, main_code


def tell(command: list[str], folder: Path) -> str:
    """What a program prints that prints its own `main_code`."""
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


TELL = """
import sys
from lineart.tracking.capture import is_notebook, main_code
print(main_code(sys.modules["__main__"], sys.orig_argv), is_notebook())
"""


def test_script_is_its_file(tmp_path: Path) -> None:
    scenario.write_tree(tmp_path, {"deep/train.py": TELL})
    expected = f"[('train.py', {(tmp_path / 'deep/train.py').resolve()!r})] False"
    assert tell(["deep/train.py", "-c", "x"], tmp_path) == expected


def test_module_is_its_file(tmp_path: Path) -> None:
    scenario.write_tree(tmp_path, {"package/__init__.py": "", "package/__main__.py": TELL})
    expected = f"[('__main__.py', {(tmp_path / 'package/__main__.py').resolve()!r})] False"
    assert tell(["-m", "package"], tmp_path) == expected


@pytest.mark.parametrize("options", [["-c"], ["-u", "-c"], ["-X", "utf8", "-W", "error", "-c"], ["-Bc"]])
def test_code_of_the_command_line_is_kept(tmp_path: Path, options: list[str]) -> None:
    assert tell([*options, TELL, "rest"], tmp_path) == f"[('command.py', {TELL.encode()!r})] False"


def test_script_within_an_archive_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", TELL)
    assert tell(["app.pyz"], tmp_path) == f"[('__main__.py', {TELL.encode()!r})] False"


def test_what_has_no_code_keeps_none() -> None:
    module = types.ModuleType("__main__")
    assert main_code(module, ["python"]) == []
    assert main_code(None, []) == []
    module.__file__ = "/gone/train.py"
    assert main_code(module, ["python", "train.py"]) == []
    assert not is_notebook()


# Notebooks

CELLS = """
import json, pathlib, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
if sys.argv[1] == "kernel":
    shell.kernel = object()
shell.run_cell("a = 1", store_history=True)
shell.run_cell("%matplotlib --list\\nb = a +\\\\\\n  1\\n", store_history=True)
shell.run_cell("1 / 0", store_history=True)
shell.run_cell("c = 'not in the history'", store_history=False)
shell.run_cell("from lineart.tracking.capture import is_notebook, main_code", store_history=True)
shell.run_cell("found = main_code(None, [], notebook=sys.argv[2] or None), is_notebook()", store_history=True)
shell.user_ns["sys"] = sys
shell.run_cell("found = main_code(None, [], notebook=sys.argv[2] or None), is_notebook()", store_history=True)
[(name, book)], notebook = shell.user_ns["found"]
pathlib.Path("found.json").write_text(json.dumps([name, book.decode(), notebook]))
"""


@pytest.mark.parametrize(
    "kind, path, name", [("kernel", "work/Zahlen.ipynb", "Zahlen.ipynb"), ("terminal", "", "notebook.ipynb")]
)
def test_executed_cells_of_ipython_are_a_valid_notebook(
    tmp_path: Path, kind: str, path: str, name: str
) -> None:
    scenario.write_tree(tmp_path, {"run.py": CELLS})
    tell(["run.py", kind, path], tmp_path)
    found, book, notebook = json.loads((tmp_path / "found.json").read_text())
    assert (found, notebook) == (name, kind == "kernel")
    read = nbformat.reads(book, as_version=4)
    nbformat.validate(read)
    assert [cell.source for cell in read.cells][:3] == [
        "a = 1",
        "%matplotlib --list\nb = a +\\\n  1",
        "1 / 0",
    ]
    assert [cell.execution_count for cell in read.cells] == [1, 2, 3, 4, 5, 6]


def test_shell_without_history_gives_an_empty_notebook() -> None:
    read = nbformat.reads(executed_cells(object()).decode(), as_version=4)
    nbformat.validate(read)
    assert read.cells == []
