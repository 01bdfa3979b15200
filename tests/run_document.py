"""Run the code of a Markdown document from top to bottom, in the current directory.

`python tests/run_document.py README.md`. What runs:

- `python` blocks share one namespace; a block that starts with `>>>`, and every `pycon` block, is a doctest.
- `console` blocks: lines that start with `$ ` are given to one shell, a line that ends in a backslash goes on in the
  next, a command that fails ends the run. Output shown below a command must match, `...` stands for anything;
  a command with nothing below it may print what it likes. Directory and variables last until the end of the document.
- A comment `<!-- not run: reason -->` above a block leaves it out.
"""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)(?P<marks>```+|~~~+)(?P<language>[\w-]*)")
NOT_RUN = re.compile(r"<!-- not run: \S.*-->\s*$")
OPTIONS = doctest.ELLIPSIS
MARK = "7d1f-end-of-command"


class DocumentError(Exception):
    """A block of a document does not do what the document says."""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block that is meant to run."""

    language: str
    text: str
    line: int  # of its first line of text, from 1


@dataclass(frozen=True, slots=True)
class Command:
    """A shell command of a console block, and the output that the document shows for it."""

    text: str
    shown: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a document that run, in order."""
    lines = text.splitlines()
    number = 0
    above = ""  # the last line with text before the fence
    while number < len(lines):
        fence = FENCE.match(lines[number])
        number += 1
        if fence is None:
            above = lines[number - 1] if lines[number - 1].strip() else above
            continue
        start = number
        while number < len(lines) and lines[number].strip() != fence["marks"]:
            number += 1
        body = textwrap.dedent("\n".join(lines[start:number])) + "\n"
        number += 1
        if fence["language"] in ("python", "pycon", "console") and not NOT_RUN.search(above):
            yield Block(fence["language"], body, start + 1)
        above = ""


def commands(block: Block) -> list[Command]:
    """The commands of a console block."""
    found: list[tuple[list[str], list[str], int]] = []
    goes_on = False
    for number, line in enumerate(block.text.splitlines(), block.line):
        if goes_on:
            found[-1][0].append(line.removeprefix("> "))
        elif line.startswith("$ "):
            found.append(([line[2:]], [], number))
        elif found:
            found[-1][1].append(line.rstrip())
        elif line.strip():
            raise DocumentError(f'line {number}: output before the first command; commands start with "$ "')
        goes_on = line.endswith("\\")
    return [Command("\n".join(text), "\n".join(shown).strip("\n"), line) for text, shown, line in found]


def run_console(block: Block, state: Path) -> None:
    """Run the commands of a block in one shell; `state` keeps its variables and directory for the next block."""
    wanted = commands(block)
    script = ["exec 2>&1", f"[ ! -e {shlex.quote(str(state))} ] || . {shlex.quote(str(state))}"]
    for command in wanted:
        script += [command.text, f'status=$?; printf "\\n{MARK}\\n"; [ $status = 0 ] || exit $status']
    script.append(f"{{ export -p; printf 'cd %s\\n' \"'$PWD'\"; }} > {shlex.quote(str(state))}")
    done = subprocess.run(
        ["sh", "-c", "\n".join(script)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    outputs = done.stdout.removesuffix(f"\n{MARK}\n").split(f"\n{MARK}\n")
    for number, (command, output) in enumerate(zip(wanted, outputs, strict=False), 1):
        printed = "\n".join(line.rstrip() for line in output.strip("\n").splitlines())
        if done.returncode and number == len(outputs):
            raise DocumentError(
                f"line {command.line}: exit status {done.returncode} from\n  {command.text}\nwhich printed\n{printed}"
            )
        if command.shown and not doctest.OutputChecker().check_output(
            command.shown + "\n", printed + "\n", OPTIONS
        ):
            raise DocumentError(
                f"line {command.line}: the document shows\n{command.shown}\nbut it prints\n{printed}"
            )


def run_python(block: Block, path: Path, names: dict[str, object]) -> None:
    """Run a block in `names`, as a doctest where it is written as one."""
    if block.language == "python" and not block.text.lstrip().startswith(">>>"):
        exec(compile("\n" * (block.line - 1) + block.text, str(path), "exec"), names)
        return
    test = doctest.DocTestParser().get_doctest(block.text, names, path.name, str(path), block.line - 1)
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=report.append, clear_globs=False)
    names.update(test.globs)
    if result.failed:
        raise DocumentError("".join(report))


def run(path: Path, state: Path) -> None:
    """Run a document; raises DocumentError, or what its Python raises."""
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(path.read_text(encoding="utf-8")):
        if block.language == "console":
            run_console(block, state)
        else:
            run_python(block, path, names)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        try:
            run(Path(sys.argv[1]), Path(directory) / "state")
        except DocumentError as error:
            sys.exit(f"{sys.argv[1]}: {error}")
