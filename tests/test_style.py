"""What a linter does not check of how this project is written.

Exceptions stand in `style_allowed.txt`, one line each: file, rule, reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = Path(__file__).with_name("style_allowed.txt")

MODULE_LINES = 600
FUNCTION_LINES = 70  # without the docstring: a screen of code
EMPTY_NAMES = {"common", "helper", "helpers", "misc", "util", "utils"}
MAY_TALK = {"cli", "server"}  # the folders that print, read the environment and exit

ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv"}
EXIT = {"sys.exit", "os._exit", "os.abort"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One place that breaks a rule."""

    path: str
    line: int
    rule: str
    message: str


def code_files() -> list[Path]:
    """Every module of the package, by its real path."""
    folders = [path.resolve() for path in (ROOT / "src" / "lineart").iterdir() if path.is_dir()]
    inside = [path for folder in folders for path in folder.rglob("*.py")]
    return sorted([*inside, *(ROOT / "src" / "lineart").glob("*.py")])


def other_files() -> list[Path]:
    """Every other module of the project."""
    return sorted(
        path for name in ("tests", "examples", "benchmarks", "docs") for path in (ROOT / name).rglob("*.py")
    )


def sizes(path: str, text: str, tree: ast.Module) -> Iterator[Fault]:
    """Yield what is too long, and names that say nothing."""
    length = text.count("\n")
    if length > MODULE_LINES:
        yield Fault(path, 1, "length", f"{length} lines, at most {MODULE_LINES}: which noun can move out?")
    for part in Path(path).with_suffix("").parts:
        if part in EMPTY_NAMES:
            yield Fault(path, 1, "name", f"{part!r} says nothing: name the noun that it holds")
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first, last = node.body[0], node.end_lineno or node.lineno
            documented = ast.get_docstring(node) is not None
            docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if documented else 0
            count = last - node.lineno + 1 - docstring
            if count > FUNCTION_LINES:
                message = f"{node.name}() has {count} lines without its docstring, at most {FUNCTION_LINES}"
                yield Fault(path, node.lineno, "function", message)


def swallowed(path: str, text: str, tree: ast.Module) -> Iterator[Fault]:
    """Yield handlers that drop an error, or catch all, and do not say why."""
    lines = text.splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        idle = all(
            isinstance(statement, ast.Pass)
            or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
            for statement in node.body
        )
        broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
        broad = broad and not isinstance(
            node.body[-1], ast.Raise
        )  # cleaning up and going on falling is no catch
        explained = any("#" in line for line in lines[node.lineno - 1 : node.body[0].end_lineno])
        if (idle or broad) and not explained:
            does = "drops the error" if idle else "catches everything"
            yield Fault(path, node.lineno, "handler", f"the handler {does}: say why in a comment, or do not")


def talk(path: str, tree: ast.Module) -> Iterator[Fault]:
    """Yield prints, reads of the environment and exits."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name in ENVIRONMENT:
                yield Fault(path, node.lineno, "environment", f"{name}: take the value as an argument")
            elif name in EXIT:
                yield Fault(path, node.lineno, "exit", f"{name}: raise an error, cli/ turns it into a status")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "print":
                yield Fault(path, node.lineno, "print", "print(): return the text, cli/ shows it")
            elif node.func.id in ("exit", "quit", "SystemExit"):
                yield Fault(path, node.lineno, "exit", f"{node.func.id}(): raise an error of ours")
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "sys"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if full in ENVIRONMENT | EXIT:
                    yield Fault(
                        path, node.lineno, "import", f"import {node.module} and write {full}, to be seen"
                    )


def faults(path: Path) -> list[Fault]:
    """All faults of one file, allowed or not."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    name = path.relative_to(ROOT).as_posix()
    found = [*sizes(name, text, tree), *swallowed(name, text, tree)]
    if path in set(code_files()) and name.partition("/")[0] not in MAY_TALK:
        found += talk(name, tree)
    return found


def allowed() -> dict[tuple[str, str], str]:
    """The reasons by (file, rule)."""
    lines = [
        line for line in ALLOWED.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
    ]
    return {(path, rule): reason for path, rule, reason in (line.split(maxsplit=2) for line in lines)}


@pytest.mark.parametrize(
    "path", [*code_files(), *other_files()], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_file_keeps_the_style(path: Path) -> None:
    reasons = allowed()
    found = [fault for fault in faults(path) if (fault.path, fault.rule) not in reasons]
    assert not found, "\n" + "\n".join(f"{fault.path}:{fault.line}: {fault.message}" for fault in found)


def test_exceptions_are_still_needed() -> None:
    for name, rule in allowed():
        path = ROOT / name
        if path.exists():
            assert rule in {fault.rule for fault in faults(path)}, (
                f"{ALLOWED.name}: {name} does not need {rule!r} any more; remove the line"
            )


@pytest.mark.parametrize(
    "code, rule",
    [
        ("print('x')", "print"),
        ("import os\nhome = os.environ['HOME']", "environment"),
        ("import os\nhome = os.getenv('HOME')", "environment"),
        ("from os import environ", "import"),
        ("import sys\nsys.exit(1)", "exit"),
        ("raise SystemExit(1)", "exit"),
    ],
)
def test_talking_is_found(code: str, rule: str) -> None:
    assert [fault.rule for fault in talk("x.py", ast.parse(code))] == [rule]


@pytest.mark.parametrize(
    "handler, bad",
    [
        ("except OSError:\n    pass", True),
        ("except OSError:\n    # gone already, as wanted\n    pass", False),
        ("except OSError:\n    pass  # gone already, as wanted", False),
        ("except Exception:\n    undo()", True),
        ("except Exception:\n    undo()\n    raise", False),
        ("except Exception:  # a plug-in may raise anything; the caller is told\n    report()", False),
        ("except OSError:\n    undo()", False),
    ],
)
def test_swallowed_error_is_found(handler: str, bad: bool) -> None:
    text = f"try:\n    work()\n{handler}\n"
    assert bool(list(swallowed("x.py", text, ast.parse(text)))) is bad


def test_lengths_and_names_are_found() -> None:
    body = "".join(f"    a{number} = 1\n" for number in range(FUNCTION_LINES))
    text = f"def long():\n{body}" + "\n" * MODULE_LINES
    rules = {fault.rule for fault in sizes("storage/utils.py", text, ast.parse(text))}
    assert rules == {"length", "name", "function"}
