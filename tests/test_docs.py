"""Every promise in the documents runs: their code, their links, the reference of the command."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNNER = Path(__file__).with_name("run_document.py")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RUNNABLE = [path for path in DOCUMENTS if path.parent != ROOT or path.name == "README.md"]

LINK = re.compile(
    r"(?<!\\)\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)"
    r"|<(?:img|a)\s[^>]*(?:src|href)=\"(?P<html>[^\"]+)\""
)
HEADING = re.compile(r"^#+ +(?P<text>.+?) *#*$", re.MULTILINE)
FENCED = re.compile(r"^( *)(```+|~~~+).*?^\1\2 *$", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    """The path in the repository."""
    return path.relative_to(ROOT).as_posix()


def run_document(path: Path, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a document in an empty directory, with an empty store and nobody's settings."""
    work, home = directory / "work", directory / "home"
    work.mkdir()
    home.mkdir()
    if (ROOT / "examples").is_dir():
        shutil.copytree(ROOT / "examples", work / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LINEART", "XDG_", "AWS_", "PYTEST_", "COV_"))
    }
    environment |= {
        "HOME": str(home),
        "USERPROFILE": str(home),
        "LINEART_STORE": str(directory / "store"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "COLUMNS": "110",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "TZ": "UTC",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        [sys.executable, "-P", str(RUNNER), str(path)],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def anchors(path: Path) -> set[str]:
    """The names that the headings of a document can be linked by."""
    found: dict[str, int] = {}
    result: set[str] = set()
    for heading in HEADING.finditer(FENCED.sub("", path.read_text(encoding="utf-8"))):
        slug = re.sub(r"[^\w\- ]", "", heading["text"].lower()).replace(" ", "-")
        result.add(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return result


def load(path: Path, name: str) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", RUNNABLE, ids=name_of)
def test_document_runs(path: Path, tmp_path: Path) -> None:
    done = run_document(path, tmp_path)
    assert done.returncode == 0, "\n" + done.stdout


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_relative_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", FENCED.sub("", path.read_text(encoding="utf-8")))
    for link in LINK.finditer(text):
        whole = unquote(link["target"] or link["html"])
        if re.match(r"[a-z][a-z0-9+.-]*:", whole):
            continue
        file, _, anchor = whole.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), f"{name_of(path)} links to {whole}, which does not exist"
        assert target.is_relative_to(ROOT), f"{name_of(path)} links to {whole}, outside the repository"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{name_of(path)} links to {whole}: there is no such heading"


def test_every_command_has_a_description_and_an_example() -> None:
    generate = load(ROOT / "docs" / "generate_cli.py", "generate_cli")
    main = importlib.import_module("lineart.cli.main").main
    for section in generate.sections(main, "art"):
        assert section.description, f"{section.path} has no help text"
        if not section.subcommands:
            assert section.example, (
                f'{section.path} --help shows no example; end its docstring with a paragraph that starts with "\\b"'
            )


@pytest.mark.parametrize(
    "text, fault",
    [
        ("```python\nx = 1\n```\n```python\n>>> x + 1\n2\n```\n", None),
        ("```python\n>>> 1 + 1\n3\n```\n", "Got:"),
        ("text\n\n```python\nassert False\n```\n", "line 4"),
        ("```console\n$ echo one; echo two\none\n...\n$ true\n```\n", None),
        ("```console\n$ echo one\ntwo\n```\n", "but it prints\none"),
        ("```console\n$ echo one\n$ false\n$ echo no\n```\n", "line 3: exit status 1"),
        (
            "```console\n$ mkdir d && cd d && export A='b c'\n```\n```console\n$ echo $A\nb c\n$ basename $PWD\nd\n```",
            None,
        ),
        ("```console\n$ echo a \\\n> b\na b\n```\n", None),
        ("```python\nopen('f', 'w').close()\n```\n```console\n$ ls f\nf\n```\n", None),
        ("<!-- not run: it fails -->\n```console\n$ false\n```\n", None),
        ("```sh\nfalse\n```\n", None),
        ('```console\n$ test ! -e "$LINEART_STORE" && test -z "$(ls -A $HOME)"\n```\n', None),
    ],
)
def test_runner_finds_what_is_wrong(text: str, fault: str | None, tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(text, encoding="utf-8")
    done = run_document(document, tmp_path)
    if fault is None:
        assert done.returncode == 0, done.stdout
    else:
        assert done.returncode != 0
        assert fault in done.stdout
