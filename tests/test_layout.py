"""The top-level folders and their links in `src/lineart/` belong together."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "lineart"
NOT_CODE = {"benchmarks", "build", "dist", "docs", "examples", "requirements", "src", "tests", "web"}

FOLDERS = sorted(
    path.name
    for path in ROOT.iterdir()
    if path.is_dir()
    and not path.name.startswith((".", "_"))
    and path.name not in NOT_CODE
    and any(path.rglob("*.py"))
)
LINKS = sorted(
    path.name
    for path in PACKAGE.iterdir()
    if path.is_symlink() or (path.suffix == "" and not path.name.startswith(("_", ".")))
)

BROKEN_CLONE = (
    "src/lineart/{name} is not a link but a {kind}: this clone was made without symbolic links. "
    'Run "git config core.symlinks true && git checkout -- src/lineart"; '
    "on Windows switch on the developer mode first, or clone in WSL"
)


def git(*arguments: str) -> str:
    """The output of git in this checkout; skips the test where there is none."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_there_are_folders() -> None:
    assert {"storage", "artifacts", "lineage", "registry", "tracking", "cli"} <= set(FOLDERS)


@pytest.mark.parametrize("name", FOLDERS)
def test_folder_has_a_link(name: str) -> None:
    assert os.path.lexists(PACKAGE / name), (
        f"{name}/ holds code but is not part of the package; "
        f'run "ln -s ../../{name} src/lineart/{name}" and add it to the layers in pyproject.toml'
    )


@pytest.mark.parametrize("name", LINKS)
def test_link_is_relative_and_leads_to_its_folder(name: str) -> None:
    link = PACKAGE / name
    assert link.is_symlink(), BROKEN_CLONE.format(name=name, kind="directory" if link.is_dir() else "file")
    assert os.readlink(link).replace(os.sep, "/") == f"../../{name}"
    assert link.is_dir(), f'src/lineart/{name} leads nowhere; make {name}/ or "git rm src/lineart/{name}"'
    assert name in FOLDERS, f"src/lineart/{name} leads to a folder without code"


def test_links_are_committed() -> None:
    if not git("ls-files", "--", "src/lineart"):
        pytest.skip("nothing is tracked yet")
    modes = {
        line.split("\t")[1]: line.split()[0]
        for line in git("ls-files", "-s", "--", "src/lineart").splitlines()
    }
    for name in LINKS:
        mode = modes.get(f"src/lineart/{name}", "nothing")
        assert mode == "120000", (
            f'git has {mode} for src/lineart/{name}, not a link; run "git add src/lineart/{name}"'
        )


@pytest.mark.parametrize("name", FOLDERS)
def test_init_introduces_the_folder(name: str) -> None:
    init = ROOT / name / "__init__.py"
    assert init.is_file(), f"{name}/ has no __init__.py; what it is, may import and offers stands there"
    tree = ast.parse(init.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{name}/__init__.py has no docstring"
    assert any(
        isinstance(target, ast.Name) and target.id == "__all__"
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ), f"{name}/__init__.py has no __all__"


def test_package_is_marked_as_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
