from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ART = Path(sys.executable).with_name("art")


def offered(line: str, **environment: str) -> list[str]:
    """What is offered at the end of a line, asked as bash asks without our script."""
    words = line.split(" ")
    variables = {"_ART_COMPLETE": "zsh_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [ART], env={**os.environ, **variables, **environment}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()[1::3]


@pytest.mark.parametrize(
    "line, values",
    [
        ("art sho", ["show"]),
        ("art show c", ["classifier"]),
        (
            "art show classifier:",
            [f"classifier:{label}" for label in ("latest", "production", "v2", "v1", "v0")],
        ),
        ("art diff images:v0 images:v", ["images:v1", "images:v0"]),
        ("art show other/", ["other/scores"]),
        ("art -p other show ", ["scores"]),
        ("art ls -p o", ["other"]),
        ("art tag images:v0 ", ["raw"]),
        ("art put x -t m", ["model"]),
        ("art alias classifier prod", ["production"]),
        ("art log im", ["images"]),
        ("art completion z", ["zsh"]),
        ("art show nope:", []),
        ("art show a/b/c/d:", []),
        ("art --store /nowhere show c", []),
    ],
)
def test_offers(line: str, values: list[str], digits: Path) -> None:
    assert offered(line) == values


def test_nothing_is_offered_and_made_without_a_store(tmp_path: Path) -> None:
    assert offered("art show c") == []
    assert not (tmp_path / "store").exists()


def bash(line: str) -> list[str]:
    """What bash offers with our script, for a line whose words it divides at colons."""
    script = f"""
        eval "$(art completion bash)"
        COMP_LINE={line!r} COMP_POINT={len(line)} COMP_WORDBREAKS=$' \\t\\n"><=;|&(:'
        _art_completion art
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": f"{ART.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes_behind_a_colon(digits: Path) -> None:
    assert bash("art show classifier:pr") == ["production"]
    assert bash("art show cl") == ["classifier"]
    assert bash("art diff images:v0 images:v") == ["v1", "v0"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_is_printed(shell: str, art) -> None:
    assert f"_ART_COMPLETE={shell}_complete" in art("completion", shell).out


def test_unknown_shell(art) -> None:
    assert "'tcsh' is not one of" in art("completion", "tcsh", status=2).err
