"""Write `docs/cli.md` from the commands of `art`; with `--check`, exit 1 when it is not what would be written.

A command's example is its epilog, or the paragraphs of its help that start with click's `\\b` marker. The rest of
the help is its description.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

TARGET = Path(__file__).with_name("cli.md")
HEAD = """\
# The command `art`

<!-- Written by `make docs` from the commands themselves; change those, not this file. -->
"""


@dataclass(frozen=True, slots=True)
class Section:
    """What the reference says about one command."""

    path: str  # as it is typed: "art registry ls"
    usage: str
    description: str
    example: str
    options: tuple[
        tuple[str, str], ...
    ]  # (how it is written, what it does); not --help, which each command has
    subcommands: tuple[str, ...]

    def markdown(self) -> str:
        """The section as Markdown, one heading level below its group."""
        parts = [f"{'#' * len(self.path.split())} {self.path}" if " " in self.path else ""]
        parts += [self.description, f"```text\n{self.usage}\n```"]
        if self.subcommands:
            parts.append("\n".join(f"- [`{name}`](#{name.replace(' ', '-')})" for name in self.subcommands))
        if self.options:
            rows = [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in self.options]
            parts.append("\n".join(["| option | meaning |", "|---|---|", *rows]))
        if self.example:
            parts.append(f"Example:\n\n```text\n{self.example}\n```")
        return "\n\n".join(part for part in parts if part) + "\n"


def sections(command: click.Command, path: str, parent: click.Context | None = None) -> Iterator[Section]:
    """Yield the section of `command`, then those of its subcommands, in the order that `--help` lists them."""
    context = click.Context(
        command, info_name=path.rpartition(" ")[2], parent=parent, terminal_width=100, max_content_width=100
    )
    children: dict[str, click.Command] = {}
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                children[name] = child
    description, example = _description_and_example(command)
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    yield Section(
        path=path,
        usage=command.get_usage(context).removeprefix("Usage: "),
        description=description,
        example=example,
        options=tuple(record for record in records if record and record[1] and record[0] != "--help"),
        subcommands=tuple(f"{path} {name}" for name in children),
    )
    for name, child in children.items():
        yield from sections(child, f"{path} {name}", context)


def render(command: click.Command) -> str:
    """The whole reference for the group `command`."""
    return HEAD + "\n" + "\n".join(section.markdown() for section in sections(command, "art"))


def _description_and_example(command: click.Command) -> tuple[str, str]:
    """Divide a command's help, and its epilog, into prose and verbatim example lines."""
    prose: list[str] = []
    verbatim: list[str] = []
    for paragraph in inspect.cleandoc(command.help or "").partition("\f")[0].split("\n\n"):
        if paragraph.startswith("\b"):
            verbatim.append(_without_label(paragraph))
        elif paragraph.strip() and paragraph.strip().lower() not in ("example:", "examples:"):
            prose.append(" ".join(paragraph.split()))
    if command.epilog:
        verbatim.append(_without_label(inspect.cleandoc(command.epilog)))
    return "\n\n".join(prose), "\n".join(part for part in verbatim if part)


def _without_label(paragraph: str) -> str:
    """The lines of an example without click's marker and without a heading of their own."""
    text = re.sub(r"\A\s*examples?:[ \t]*", "", paragraph.replace("\b", ""), flags=re.IGNORECASE)
    return textwrap.dedent("\n".join(line for line in text.splitlines() if line.strip()))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write the reference or compare it; the exit status."""
    parser = argparse.ArgumentParser(description=inspect.cleandoc(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing, exit 1 when docs/cli.md is stale"
    )
    only_check: bool = parser.parse_args().check

    from lineart.cli.main import main as art  # late: `--help` works without the package

    wanted = render(art)
    found = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if only_check and wanted != found:
        lines = difflib.unified_diff(
            found.splitlines(), wanted.splitlines(), "docs/cli.md", "the commands", n=1
        )
        print("\n".join([*list(lines)[:40], 'docs/cli.md is stale; run "make docs"']), file=sys.stderr)
        return 1
    if not only_check:
        TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
