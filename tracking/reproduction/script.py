"""A reproduction as lines for a POSIX shell. ``$here`` is the folder that all lies in, ``$from`` the store."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence

from .plan import CLONE, PATCH, REQUIREMENTS, SAVED, STORE, VENV, Reproduction, Step

_PYTHON = '"$here/venv/bin/python"'


def steps_of(made: Reproduction) -> tuple[Step, ...]:
    """The work, step by step."""
    return (
        Step("code", _code_title(made), tuple(_code(made))),
        Step("inputs", "the inputs, in a store of their own", tuple(_inputs(made))),
        Step("environment", f"Python {made.environment.python or ''} and its packages", tuple(_venv(made))),
        Step("command", "the command", tuple(_command(made))),
        Step("comparison", f"the version made, and the one wanted: {made.digest}", tuple(_comparison(made))),
    )


def script_of(made: Reproduction) -> str:
    """A whole script; one that tells why and exits with 2 where the version cannot be made anew."""
    run = (
        f"made by the run {_plain(made.run_name or '')} ({_plain(made.run)})"
        if made.run
        else "made outside of a run"
    )
    head = [
        "#!/bin/sh",
        f"# {made.short} of {made.version.rpartition('/')[0]}, {run} on {_plain(made.made_at)}",
        f"# blake3 of its manifest: {made.digest}",
        *(f"# note: {_plain(note)}" for note in made.notes),
    ]
    if made.obstacles:
        said = [
            f"echo {shlex.quote(f'cannot be made anew: {_plain(reason)}')} >&2" for reason in made.obstacles
        ]
        return "\n".join([*head, "", *said, "exit 2", ""])
    folder = shlex.quote(made.short.replace(":", "-"))
    lines = [
        *head,
        "set -eu",
        f'mkdir -p "${{1:-{folder}}}"',
        f'cd "${{1:-{folder}}}"',
        "here=$(pwd)",
        f"from={shlex.quote(made.store)}",
    ]
    for step in made.steps:
        lines += ["", f"# {step.title}", *step.lines]
    return "\n".join([*lines, ""])


def _plain(text: str | None) -> str:
    """One line, whatever a log says."""
    return re.sub(r"[\x00-\x1f\x7f]", " ", text or "")


def _code_title(made: Reproduction) -> str:
    if made.code.commit is None:
        return "the code that the run has saved"
    return f"the code: commit {_plain(made.code.commit)}"


def _code(made: Reproduction) -> Iterator[str]:
    code, run = made.code, shlex.quote(made.run or "")
    if code.commit is not None:
        source = code.remote or code.repository or ""
        yield f"git clone --no-checkout -- {shlex.quote(source)} {CLONE}"
        if code.remote and code.repository and not code.is_pushed:
            yield f"git -C {CLONE} fetch -- {shlex.quote(code.repository)} {shlex.quote(code.commit)}"
        yield f"git -C {CLONE} checkout --detach {shlex.quote(code.commit)}"
        if code.has_patch:
            yield f'art run get {run} {PATCH} --root {SAVED} --store "$from"'
            yield f'git -C {CLONE} apply "$here/{SAVED}/{PATCH}"'
    yield f"mkdir -p {shlex.quote(made.folder)}"
    for name in code.artifacts:
        yield f'art get {shlex.quote(name)} --root {shlex.quote(made.folder_of(name))} --store "$from"'
    for item in code.saved:
        target = shlex.quote(posixpath.normpath(posixpath.join(made.folder, item.target)))
        folder = shlex.quote(posixpath.dirname(posixpath.join(made.folder, item.target)))
        yield f'[ -e {target} ] || art run get {run} {shlex.quote(item.path)} --root {SAVED} --store "$from"'
        copied = f"mkdir -p {folder}; cp {shlex.quote(f'{SAVED}/{item.path}')} {target}"
        if made.is_program(item):
            copied += f"; chmod +x {target}"
        yield f"[ -e {target} ] || {{ {copied}; }}"


def _inputs(made: Reproduction) -> Iterator[str]:
    entity = made.project.partition("/")[0]
    own = f'--store "$here/{STORE}"'
    yield f'art init "$here/{STORE}" --no-config --entity {shlex.quote(entity)}'
    for item in made.inputs:
        yield f'art pull "$from" {shlex.quote(item.name)} {own} -p {shlex.quote(made.project)}'
    for item in made.inputs:  # after all of them: each that comes moves "latest"
        name = shlex.quote(item.name)
        for alias in item.aliases:
            yield f"art alias {name} {shlex.quote(alias)} {own}"
        folder = shlex.quote(posixpath.join(made.folder, item.folder))
        yield f"art get {name} --root {folder} {own}"


def _venv(made: Reproduction) -> Iterator[str]:
    python = ".".join((made.environment.python or "3").split(".")[:2])
    yield f"python{python} -m venv {VENV}"
    if made.environment.requirements:
        yield f'art run get {shlex.quote(made.run or "")} {REQUIREMENTS} --root {SAVED} --store "$from"'
        yield f"{VENV}/bin/python -m pip install --no-deps -r {SAVED}/{REQUIREMENTS}"


def _command(made: Reproduction) -> Iterator[str]:
    entity, _, project = made.project.partition("/")
    values = {"LINEART_PROJECT": project, "LINEART_ENTITY": entity, **made.environment.variables}
    yield f'export PATH="$here/{VENV}/bin:$PATH" LINEART_STORE="$here/{STORE}"'
    yield f"export {' '.join(f'{name}={shlex.quote(value)}' for name, value in values.items())}"
    yield f"cd {shlex.quote(made.folder)}"
    yield shell_words(made.command)


def _comparison(made: Reproduction) -> Iterator[str]:
    query = (
        f"select version_id, digest = '{made.digest}' as same from versions join edges using (version_id)"
        f" where kind = 'produced' and collection = '{made.collection}'"
    )
    yield f'art sql {shlex.quote(query)} --store "$here/{STORE}"'


def shell_words(words: Sequence[str]) -> str:
    """A command line; the interpreter is that of the virtual environment."""
    first = _PYTHON if words[:1] == ("python",) else shlex.quote(words[0])
    return " ".join([first, *map(shlex.quote, words[1:])])
