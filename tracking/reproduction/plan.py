"""What a reproduction is: the code, inputs, environment and command that made a version. Pure.

Everything is laid out below one folder: ``code`` (a clone) or ``work`` (saved code), ``store`` (a store of its own, so
that what is run again logs nowhere else), ``saved`` (files of the run), ``venv``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

_PYTHON = re.compile(r"python[\d.]*(\.exe)?")
CLONE, WORK, STORE, SAVED, VENV = "code", "work", "store", "saved", "venv"
PATCH, REQUIREMENTS = "diff.patch", "requirements.txt"


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the work, as lines for a POSIX shell."""

    kind: Literal["code", "inputs", "environment", "command", "comparison"]
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A version that the run used, and the aliases of its collection that led to it then."""

    name: str  # entity/project/collection:vN
    role: str | None
    aliases: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Where `Artifact.download` puts it, seen from the working folder."""
        return f"artifacts/{self.name.rpartition('/')[2].replace(':', '-')}"


@dataclass(frozen=True, slots=True)
class SavedCode:
    """A file of the run that is code, and where it stood, seen from the working folder."""

    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Where the code comes from: a commit with what was not committed, else what the run has saved."""

    commit: str | None = None
    remote: str | None = None
    repository: str | None = None  # a folder on this machine that has the commit
    has_patch: bool = False
    saved: tuple[SavedCode, ...] = ()
    artifacts: tuple[str, ...] = ()  # versions of type "code" that the run has logged
    roots: Mapping[str, str] = field(
        default_factory=dict
    )  # of those: where it lay, seen from the working folder
    is_pushed: bool = True  # as far as the repository here knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The Python that ran, its packages as lines of a requirements file, and variables that change results."""

    python: str | None = None
    requirements: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """How to make a version anew.

    `obstacles` say, in a line each, why it cannot be done; `notes` what may make the result differ.
    """

    version: str  # entity/project/collection:vN
    digest: str
    store: str  # where the version lies
    run: str | None = None
    run_name: str | None = None
    made_at: str | None = None
    made_by: str | None = None
    project: str  # entity/project of the run, or of the version
    place: int = 0  # which of the versions that the run logged in this collection it is, from 0
    code: Code = field(default_factory=Code)
    inputs: tuple[Input, ...] = ()
    environment: Environment = field(default_factory=Environment)
    folder: str = WORK  # the working folder, below the one that all lies in
    command: tuple[str, ...] = ()  # "python" stands for the interpreter, "art" for Lineart's command
    obstacles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """``collection:vN``."""
        return self.version.rpartition("/")[2]

    @property
    def collection(self) -> str:
        """The name of the collection."""
        return self.short.partition(":")[0]

    def folder_of(self, artifact: str) -> str:
        """Where the files of a code artifact belong, below the folder that all lies in."""
        place = posixpath.normpath(posixpath.join(self.folder, self.code.roots.get(artifact, ".")))
        is_outside = place.startswith(("..", "/"))
        return self.folder if is_outside else place

    def is_program(self, item: SavedCode) -> bool:
        """Whether a saved file is what the command starts: then it has to be executable, which a run does not save."""
        words = self.command
        if words[:2] == ("art", "exec"):
            words = words[words.index("--") + 1 :]
        return words[:1] == (item.target,)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The work, step by step; none where it cannot be done."""
        from .script import steps_of

        return () if self.obstacles else steps_of(self)

    @property
    def script(self) -> str:
        """A script for a POSIX shell that does it all in the folder that is its argument."""
        from .script import script_of

        return script_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """How a process was started, from the facts that a run has recorded of it."""

    words: tuple[str, ...]  # of the command, as `Reproduction.command` has them
    saved: tuple[SavedCode, ...]
    obstacles: tuple[str, ...] = ()


def started(capture: Mapping[str, Any], files: Sequence[str]) -> Started:
    """The command of the run, its paths made relative to the working folder. `files` are those the run has saved.

    >>> started({"command": ["/a/b/train.py", "--out=/a/b/x"], "folder": "/a/b"}, ["code/train.py"]).words
    ('python', 'train.py', '--out=x')
    """
    words = tuple(str(word) for word in capture.get("command") or ())
    kept = tuple(path for path in files if path.startswith("code/"))
    here = Place(str(capture.get("folder") or "."), (capture.get("git") or {}).get("root"))
    notebook = next((path for path in kept if path.endswith(".ipynb")), None)
    exec_facts = capture.get("exec")
    if any("***" in word for word in words):
        return _cannot("its command line holds a secret that was not recorded")
    if exec_facts is not None:
        options = [part for text in exec_facts.get("use", ()) for part in ("--use", text)]
        options += [part for text in exec_facts.get("log", ()) for part in ("--log", here.relative(text))]
        if not words:
            return _cannot("no command was recorded")
        rest = _program(words[0], capture, here) + tuple(map(here.relative, words[1:]))
        return Started(
            words=("art", "exec", *options, "--", *rest), saved=_beside(kept, map(here.relative, words))
        )
    if notebook is not None:
        return _cannot(f"it was made in an interactive session (saved as {notebook})")
    if not words or words[0] in ("", "-"):
        return _cannot("no command was recorded: it was made in an interactive session or by typed-in code")
    rest = tuple(map(here.relative, words[1:]))
    if module := capture.get("module"):
        return Started(words=("python", "-m", str(module), *rest), saved=())
    if words[0] == "-c":
        if "code/command.py" not in kept:
            return _cannot("it was made by python -c, and the code was not saved")
        return Started(
            words=("python", "command.py", *rest), saved=(SavedCode("code/command.py", "command.py"),)
        )
    script, name = here.relative(words[0]), PurePosixPath(words[0]).name
    beside_python = posixpath.dirname(words[0]) == posixpath.dirname(str(capture.get("executable") or "/-/"))
    if beside_python and not name.endswith(".py"):
        return Started(words=(name, *rest), saved=())  # a command that a package has installed
    if posixpath.isabs(script):  # outside of the folder and of the repository
        script = name
    return Started(words=("python", script, *rest), saved=_beside(kept, [script]))


def _program(first: str, capture: Mapping[str, Any], here: Place) -> tuple[str, ...]:
    """What a command begins with: a Python of then, and a script that needs one, get the Python of now."""
    path = PurePosixPath(first)
    if path.is_absolute() and _PYTHON.fullmatch(path.name):
        return ("python",)
    if path.suffix == ".py":
        script = here.relative(first)
        return ("python", path.name if posixpath.isabs(script) else script)
    if posixpath.dirname(first) == posixpath.dirname(str(capture.get("executable") or "/-/")):
        return (path.name,)  # what a package has installed
    return (here.relative(first),)


def _cannot(why: str) -> Started:
    return Started(words=(), saved=(), obstacles=(why,))


def _beside(kept: Sequence[str], words: Any) -> tuple[SavedCode, ...]:
    """For each word that names a saved file by its last part, that file."""
    names = {PurePosixPath(path).name: path for path in kept}
    found = {
        PurePosixPath(word).name: SavedCode(names[PurePosixPath(word).name], word)
        for word in words
        if PurePosixPath(word).name in names and not posixpath.isabs(word)
    }
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Place:
    """The folder in which a process ran, and the root of its git repository."""

    folder: str
    root: str | None = None

    @property
    def below_root(self) -> str:
        """The folder seen from the root of the repository; ``.`` for the root itself."""
        return posixpath.relpath(self.folder, self.root) if self.root else "."

    def relative(self, word: str) -> str:
        """`word` with an absolute path into the folder or the repository made relative: they are elsewhere now.

        >>> place = Place("/home/ada/work/sub", "/home/ada/work")
        >>> place.relative("/home/ada/work/train.py"), place.relative("--data=/home/ada/work/sub/x")
        ('../train.py', '--data=x')
        """
        option, equals, path = word.rpartition("=")
        for top in (self.folder, self.root):
            if top and (path == top or path.startswith(top.rstrip("/") + "/")):
                return f"{option}{equals}{posixpath.relpath(path, self.folder)}"
        return word
