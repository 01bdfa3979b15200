"""The names that each package offers are a decision: `public_names.txt` lists them.

`python tests/test_public.py` writes the list anew.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("public_names.txt")
HEAD = "# The public names of each package. Written by `python tests/test_public.py`; read the difference.\n"


def packages() -> list[str]:
    """The package itself and each linked folder that exists."""
    linked = sorted(path.parent.name for path in (ROOT / "src" / "lineart").glob("*/__init__.py"))
    return ["lineart", *(f"lineart.{name}" for name in linked)]


def current() -> list[str]:
    """One line per public name, as it stands in the code."""
    return [
        f"{package}.{name}"
        for package in packages()
        for name in sorted(importlib.import_module(package).__all__)
    ]


def test_public_names_are_the_listed_ones() -> None:
    listed = [line for line in LIST.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    changes = [line for line in difflib.ndiff(listed, current()) if line.startswith(("+", "-"))]
    assert not changes, (
        "the public names changed:\n"
        + "\n".join(changes)
        + '\nIf that is meant, run ".venv/bin/python tests/test_public.py"'
    )


@pytest.mark.parametrize("package", packages())
def test_every_public_name_exists(package: str) -> None:
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__), f"{package}.__all__ names something twice"
    for name in module.__all__:
        assert hasattr(module, name), f"{package}.__all__ names {name!r}, which it does not have"


def test_every_name_of_the_facade_is_documented() -> None:
    module = importlib.import_module("lineart")
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value):  # its own text, not that of a base class
            text = value.__dict__.get("__doc__") or ""
            own = text and not text.startswith(f"{name}(")  # what a dataclass without one gets
            assert own, f"lineart.{name} has no docstring"
        elif inspect.isroutine(value) or inspect.ismodule(value):
            assert inspect.getdoc(value), f"lineart.{name} has no docstring"


if __name__ == "__main__":
    LIST.write_text(HEAD + "".join(f"{line}\n" for line in current()), encoding="utf-8")
