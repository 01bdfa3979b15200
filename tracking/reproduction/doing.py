"""Doing a reproduction in an empty folder, and comparing what came out with what was recorded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...artifacts.diff import ManifestDiff, diff_manifests
from ...artifacts.history import parse_full
from ...artifacts.names import parse_version
from ...artifacts.state import ProjectState
from ...artifacts.version import Version
from ...storage.errors import Error, UsageError
from ...storage.transaction import Op
from ..run_files import RunFiles
from ..run_saving import files_of_run
from ..settings import find_settings
from ..transfer import Choice, copy
from ..workspace import Workspace
from .environment import CannotReproduce, child_environment, make_environment
from .plan import CLONE, PATCH, STORE, Reproduction
from .recorded import last_line

Say = Callable[[str], None]
_LAST_LINES = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: ``same`` content, content that ``differs``, or ``impossible`` with the reasons.

    `made` is the digest of the version that was made; `differences` lead from the recorded version to that one.
    """

    verdict: Literal["same", "differs", "impossible"]
    reasons: tuple[str, ...] = ()
    made: str | None = None
    differences: ManifestDiff | None = None


def reproduce(
    wanted: Reproduction,
    workspace: Workspace,
    folder: Path,
    *,
    environ: Mapping[str, str],
    use_present: bool = False,
    say: Say = lambda line: None,
) -> Outcome:
    """Make the version anew below the empty `folder`, with a store of its own there, and compare the digests.

    `use_present` takes this interpreter in place of a virtual environment with the recorded packages. `say` is told
    what is being done, and the output of the command line by line; the command's processes get `environ`.
    Raises: UsageError when `folder` is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"folder {str(folder)!r} is not empty; name a new one")
    if wanted.obstacles:
        return Outcome("impossible", wanted.obstacles)
    try:
        return _Doing(wanted, workspace, folder.absolute(), environ, use_present, say).run()
    except CannotReproduce as error:
        return Outcome("impossible", (str(error),))
    except Error as error:
        return Outcome("impossible", (f"{error}",))


class _Doing:
    def __init__(
        self,
        wanted: Reproduction,
        workspace: Workspace,
        folder: Path,
        environ: Mapping[str, str],
        use_present: bool,
        say: Say,
    ) -> None:
        self.wanted = wanted
        self.workspace = workspace
        self.folder = folder
        self.environ = environ
        self.use_present = use_present
        self.say = say
        self.place = Path(os.path.normpath(folder / wanted.folder))
        self.project = parse_full(f"{wanted.project}/x:v0").project

    def run(self) -> Outcome:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._code()
        before = self._inputs()
        python = Path(sys.executable)
        if not self.use_present:
            python = make_environment(self.folder, self.wanted.environment, self.environ, self.say)
        self._command(python)
        return self._compared(before)

    # Code

    def _code(self) -> None:
        code = self.wanted.code
        files = files_of_run(self.workspace, self.project, (self.wanted.run or "").rpartition("/")[2])
        if code.commit is not None:
            clone = self.folder / CLONE
            source = code.repository or code.remote or ""
            self.say(f"checking out {code.commit[:12]} of {source}")
            self._git("clone", "--quiet", "--no-checkout", "--", source, str(clone))
            self._git("-C", str(clone), "checkout", "--quiet", "--detach", code.commit)
            if code.has_patch:
                patch = files.local_path(PATCH)
                self._git("-C", str(clone), "apply", str(patch.absolute()))
        self._inside(self.place).mkdir(parents=True, exist_ok=True)
        for name in code.artifacts:
            place = self._inside(self.folder / self.wanted.folder_of(name))
            self.workspace.version(parse_full(name)).download(place)
        for item in code.saved:
            target = self._inside(self.place / item.target)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                _copy_out(files, item.path, target)
                if self.wanted.is_program(item):
                    target.chmod(target.stat().st_mode | 0o111)

    def _inside(self, path: Path) -> Path:
        """`path`, which a log has named. Raises: CannotReproduce when it leads out of the folder."""
        if not Path(os.path.normpath(path)).is_relative_to(self.folder):
            raise CannotReproduce(
                f"{path} lies outside of the folder that all is made in; the log names a wrong path"
            )
        return path

    def _git(self, *arguments: str) -> None:
        try:
            done = subprocess.run(
                ["git", *arguments],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                env={**self.environ, "GIT_TERMINAL_PROMPT": "0"},
                check=False,
            )
        except OSError as error:
            raise CannotReproduce(f"git cannot be started: {error.strerror or error}; install it") from error
        if done.returncode != 0:
            raise CannotReproduce(
                f"git {next(a for a in arguments if a.isalpha())}: {last_line(done.stderr)}"
            )

    # Inputs

    def _inputs(self) -> int:
        """Fill the store of its own; how many productions in the collection it knows before the command runs."""
        target = self._own_store(create=True)
        try:
            names = [item.name for item in self.wanted.inputs]
            if names:
                shown = ", ".join(name.rpartition("/")[2] for name in names)
                self.say(f"copying the inputs into a store of their own: {shown}")
                copy(self.workspace, target, Choice(names=names))
            for item in self.wanted.inputs:
                self._set_aliases(target, item.name, item.aliases)
                version = target.version(parse_full(item.name))
                version.download(self.place / item.folder)
            return len(self._made(target))
        finally:
            target.close()

    def _own_store(self, *, create: bool = False) -> Workspace:
        settings = find_settings(
            store=str(self.folder / STORE), project=self.project.project, entity=self.project.entity
        )
        return Workspace.open(settings, create=create)

    @staticmethod
    def _set_aliases(target: Workspace, name: str, aliases: Sequence[str]) -> None:
        """Point the aliases, ``latest`` among them, to where they pointed when the run used the version."""
        parsed = parse_full(name)
        number = parse_version(parsed.reference)

        def decide(state: ProjectState) -> list[Op]:
            now = state.collections[parsed.collection].aliases
            move = {"op": "alias.move", "collection": parsed.collection}
            return [
                {**move, "alias": alias, "from": now.get(alias), "to": number}
                for alias in aliases
                if now.get(alias) != number
            ]

        target.project(parsed.project).commit(decide)

    # Command

    def _command(self, python: Path) -> None:
        words = self._words(python)
        self.say(f"running {' '.join(self.wanted.command)}")
        settings = {
            "LINEART_STORE": str(self.folder / STORE),
            "LINEART_PROJECT": self.project.project,
            "LINEART_ENTITY": self.project.entity,
            **self.wanted.environment.variables,
        }
        environ = child_environment(self.environ, python, is_own=not self.use_present, settings=settings)
        last: deque[str] = deque(maxlen=_LAST_LINES)
        try:
            with subprocess.Popen(
                words,
                cwd=self.place,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    last.append(line)
                    self.say(f"  {line.rstrip()}")
        except OSError as error:
            raise CannotReproduce(f"{words[0]} cannot be started: {error.strerror or error}") from error
        if process.returncode != 0:
            raise CannotReproduce(
                f"the command ended with status {process.returncode}: {last_line(''.join(last))}"
            )

    def _words(self, python: Path) -> list[str]:
        first, *rest = self.wanted.command
        if first == "python":
            return [str(python), *rest]
        if (
            first == "art"
        ):  # of this Lineart: what it starts finds the packages of the environment by the path
            return [sys.executable, "-c", "from lineart.cli.main import main; main()", *rest]
        search = os.pathsep.join([str(python.parent), self.environ.get("PATH", os.defpath)])
        found = shutil.which(first, path=search)
        if found is None:
            raise CannotReproduce(f"there is no command {first!r} here; install what has it")
        return [found, *rest]

    # Comparison

    def _made(self, target: Workspace) -> list[tuple[str, str]]:
        """Name and digest of each version of the collection that a run has logged there, in that order."""
        catalog = target.catalog()
        try:
            rows = catalog.rows(
                "SELECT p.version_id, v.digest FROM productions p JOIN version_creations v USING (version_id)"
                " WHERE v.project = ? AND v.collection = ? ORDER BY p.position",
                [self.wanted.version.rpartition("/")[0], self.wanted.collection],
            )
            return [(name, digest) for name, digest in rows]
        finally:
            catalog.close()

    def _compared(self, before: int) -> Outcome:
        target = self._own_store()
        try:
            made = self._made(target)[before:]
            if any(digest == self.wanted.digest for _, digest in made):
                return Outcome("same", (), self.wanted.digest)
            if not made:
                raise CannotReproduce(
                    f"the command logged no {self.wanted.collection} into the store of its own;"
                    " code that names a store itself cannot be checked"
                )
            name, digest = made[min(self.wanted.place, len(made) - 1)]
            recorded = self.workspace.version(parse_full(self.wanted.version), deleted_too=True)
            differences = self._differences(recorded, target.version(parse_full(name)))
            return Outcome("differs", (), digest, differences)
        finally:
            target.close()

    @staticmethod
    def _differences(recorded: Version, made: Version) -> ManifestDiff | None:
        """None where the recorded content was collected."""
        try:
            return diff_manifests(recorded.manifest, made.manifest)
        except Error:
            return None


def _copy_out(files: RunFiles, path: str, target: Path) -> None:
    with files.open(path) as source, target.open("wb") as written:
        shutil.copyfileobj(source, written, 1 << 18)
