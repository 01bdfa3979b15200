"""`art exec`: any command as a run."""

from __future__ import annotations

import codecs
import math
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_names
from .options import common_options, find_given_settings, given
from .output import note
from .putting import parse_pair

if TYPE_CHECKING:
    from ..tracking.run import Run
    from ..tracking.settings import StoreChoice
    from .child import Ended

NOT_EXECUTABLE, NOT_FOUND = 126, 127  # as every shell has them
OUTPUT_FILE = "output.log"  # among the run's files, as for a run that records its own output
_ERROR_LINES = 20  # of the end of the output, kept as the reason of a failure
_ERROR_BYTES = 8192
_FLUSH_S = 0.5
_SCRIPTS = {".py", ".sh", ".ipynb", ".R", ".jl", ".js", ".lua", ".pl", ".rb"}
_SCRIPT_LIMIT_BYTES = 10_000_000
_Decoder = codecs.getincrementaldecoder("utf-8")
_SET_FOR_CHILDREN = ("LINEART_ATTACH", "LINEART_RUN_ID", "LINEART_RESUME")


class CannotRun(click.ClickException):
    """The command is not there."""

    exit_code = NOT_FOUND


class MayNotRun(CannotRun):
    """The command is there and cannot be executed."""

    exit_code = NOT_EXECUTABLE


@dataclass(frozen=True, slots=True)
class Output:
    """What ``--log PATH=NAME[:TYPE]`` asks for."""

    path: str
    name: str
    type: str | None

    @classmethod
    def parse(cls, text: str) -> Output:
        """Raises: click.UsageError.

        >>> Output.parse("out/model.bin=classifier:model")
        Output(path='out/model.bin', name='classifier', type='model')
        """
        path, equals, target = text.rpartition("=")
        name, colon, kind = target.partition(":")
        if not (equals and path and name) or (colon and not kind):
            raise click.UsageError(f"--log {text!r}: expected PATH=NAME or PATH=NAME:TYPE")
        return cls(path, name, kind or None)


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("command", metavar="CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--name", help="The run's name; else one is made up.")
@click.option("--group", help="What it is one of: the folds of a validation, the ranks of a job.")
@click.option("--job-type", metavar="TYPE", help="What it does: train, evaluate, prepare.")
@click.option("--tag", "tags", multiple=True, help="A tag.")
@click.option("--config", multiple=True, metavar="KEY=VALUE", help="Config; VALUE is JSON or text.")
@click.option(
    "--use",
    "inputs",
    multiple=True,
    metavar="NAME[=ROLE]",
    shell_complete=complete_names,
    help="An artifact that it uses.",
)
@click.option(
    "--log", "outputs", multiple=True, metavar="PATH=NAME[:TYPE]", help="An artifact to log if it succeeds."
)
@click.option("--id", "run_id", metavar="ID", help="The run's id, to find or resume it by.")
@click.option(
    "--resume", type=click.Choice(["allow", "must", "never", "auto"]), help="Go on with the run of that id."
)
@click.option(
    "--no-capture", is_flag=True, help="Do not record the output: give the command our own streams."
)
@click.option("--no-alias", is_flag=True, help='Leave "import wandb" as it is.')
@common_options
def exec(
    command: tuple[str, ...],
    name: str | None,
    group: str | None,
    job_type: str | None,
    tags: tuple[str, ...],
    config: tuple[str, ...],
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    run_id: str | None,
    resume: str | None,
    no_capture: bool,
    no_alias: bool,
) -> int:
    """Run a command as a run.

    Command, git state, output, exit status and times are recorded; the exit status is the command's, or 128 + n when
    signal n killed it. What ends in .py is run with this Python. Signals go on to the command.

    In the command, lineart.init() continues this run, so does "import wandb" in a script that is not changed, and
    "art put" and "art get" record what the run makes and uses.

    \b
    art exec -p digits --config lr=0.1 train.py --epochs 3
    art exec --use images:v3=train --log model.bin=classifier:model -- make model
    """
    from ..tracking.settings import find_run_environment

    wanted = [Output.parse(text) for text in outputs]
    values = dict(map(parse_pair, config))
    program, arguments = find_program(command)
    ctx = click.get_current_context()
    _leave_outer_run()
    said = {**find_given_settings(ctx).run, **find_run_environment(os.environ).settings}
    own = {"console": "off", "save_code": False}  # the command's output and code are recorded instead
    if not _has_our_packages(program):
        own["packages"] = False
    identity = {"name": name, "group": group, "job_type": job_type, "id": run_id, "resume": resume}
    run = _start(ctx, command, values, own, tags=tags, **identity)
    if run.disabled:  # LINEART_MODE=disabled: the command runs, nothing is recorded
        path = alias_environment(os.environ, alias=not no_alias)
        return _call(program, arguments, os.environ | path, None).status
    note(f"run {run.path} {run.name}")
    try:
        run._capture.note(exec={"use": list(inputs), "log": list(outputs)})
        if said.get("save_code", True):
            keep_script(command, run)
        for text in inputs:
            artifact, _, role = text.partition("=")
            run.use_artifact(artifact, role=role or None)
        types = [_type_of(run, output) for output in wanted]
        environ = child_environment(run, find_given_settings(ctx), os.environ, alias=not no_alias)
        keep = not no_capture and said.get("console") not in ("off", False)
        log = OutputLog(Path(run.dir) / OUTPUT_FILE) if keep else None
        ended = _call(program, arguments, environ, log)
        if ended.status == 0:
            for output, kind in zip(wanted, types, strict=True):
                run.log_artifact(output.path, name=output.name, type=kind)
    except BaseException as error:
        run.fail(error)
        raise
    reason = None if ended.status == 0 else failure(ended, [] if log is None else log.last_lines())
    run.end(ended.status, reason)
    note(f"run {run.path} {run.state}" + (f": {reason.splitlines()[0]}" if reason else ""))
    return ended.status


def find_program(command: Sequence[str]) -> tuple[str, list[str]]:
    """Where the program of a command lies, and its arguments from argument 0 on; a script gets this Python.

    Raises: CannotRun, MayNotRun, with the status that a shell would have.
    """
    first = command[0]
    if first.endswith(".py") and os.path.isfile(first):
        return sys.executable, [sys.executable, *command]
    found = shutil.which(first)
    if found is not None:
        return found, list(command)
    if os.path.exists(first):
        raise MayNotRun(f"{first!r} may not be executed; name what runs it, for example sh {first}")
    raise CannotRun(f"there is no command {first!r}")


def _leave_outer_run() -> None:
    """An exec within an exec is a run of its own."""
    if os.environ.get("LINEART_ATTACH"):
        for variable in _SET_FOR_CHILDREN:
            os.environ.pop(variable, None)


def _start(
    ctx: click.Context,
    command: Sequence[str],
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    name: str | None,
    group: str | None,
    job_type: str | None,
    tags: Sequence[str],
    id: str | None,
    resume: str | None,
) -> Run:
    from ..tracking.session import init

    own, sys.argv = sys.argv, list(command)  # what a run records of its process is here the command's
    try:
        return init(
            project=given(ctx, "project"),
            store=given(ctx, "store"),
            name=name,
            group=group,
            job_type=job_type,
            id=id,
            resume=resume,  # type: ignore[arg-type]  # one of the choices of the option
            config=config,
            tags=tags or None,
            settings=settings,
        )
    finally:
        sys.argv = own


def _has_our_packages(program: str) -> bool:
    """Whether a program has the packages of this Python, as far as its name tells."""
    is_python = os.path.basename(program).startswith("python")
    return not is_python or os.path.dirname(os.path.abspath(program)) == os.path.dirname(sys.executable)


def keep_script(command: Sequence[str], run: Run) -> None:
    """Copy the first script that a command names to the run's files, as a run keeps the code of its own process."""
    for argument in command:
        path = Path(argument)
        if path.suffix in _SCRIPTS and path.is_file() and path.stat().st_size <= _SCRIPT_LIMIT_BYTES:
            kept = Path(run.dir) / "code" / path.name
            kept.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, kept)
            return


def _type_of(run: Run, output: Output) -> str:
    """The type to log an output as. Raises: UsageError before the command has run, where it is not known."""
    from ..storage.errors import UsageError

    known = run._project.state().collections.get(output.name)
    if output.type is None and known is None:
        raise UsageError(
            f"artifact {output.name!r} is new: say its type, for example --log {output.path}={output.name}:model"
        )
    if output.type is not None and known is not None and output.type != known.type:
        raise UsageError(f"artifact {output.name!r} has type {known.type!r}, not {output.type!r}")
    return output.type or (known.type if known is not None else "")


def child_environment(
    run: Run, settings: StoreChoice, environ: Mapping[str, str], *, alias: bool
) -> dict[str, str]:
    """The variables by which the command's processes find their run, and Python in them the alias of `wandb`."""
    from ..storage.s3_options import split_address

    store = run.url.removeprefix("file://").partition("#")[0]  # another one than the settings' offline
    if split_address(settings.store)[0].rstrip("/") == store:
        store = settings.store  # with the options of its address
    found = {
        **environ,
        "LINEART_ATTACH": run.path,
        "LINEART_RUN_ID": run.id,
        "LINEART_RESUME": "allow",
        "LINEART_PROJECT": run.project,
        "LINEART_ENTITY": run.entity,
        "LINEART_STORE": store,
        "LINEART_CACHE": os.path.abspath(settings.cache),
        "LINEART_DATA": os.path.abspath(settings.data),
    }
    found.setdefault(
        "PYTHONUNBUFFERED", "1"
    )  # lines of stdout and stderr come when they are written, in order
    if alias:
        # Libraries read these two by themselves, and give init() a project of theirs when they are not set.
        found |= {"WANDB_PROJECT": run.project, "WANDB_ENTITY": run.entity}
    return found | alias_environment(environ, alias=alias)


def alias_environment(environ: Mapping[str, str], *, alias: bool) -> dict[str, str]:
    """The path on which Python finds the alias before everything else; nothing without `alias`."""
    from ..integrations.wandb.modules import SHIM

    if not alias:
        return {}
    path = environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{SHIM}{os.pathsep}{path}" if path else str(SHIM)}


class OutputLog:
    """The command's output as a file of the run: text, progress bars as their last line."""

    def __init__(self, path: Path) -> None:
        from ..tracking.capture.output_file import OutputFile

        self._path = path
        self._file = OutputFile(path)
        self._decoders = {name: _Decoder("replace") for name in ("stdout", "stderr")}
        self._flush_at_s = 0.0  # on the monotonic clock; infinite while the file is up to date

    def take(self, name: str, data: bytes) -> None:
        """Bytes of a stream, as they come."""
        self._file.write(self._decoders[name].decode(data), name)
        if self._flush_at_s == math.inf:
            self._flush_at_s = time.monotonic() + _FLUSH_S

    def pause(self) -> None:
        """Bring the file up to date, now and then."""
        if time.monotonic() >= self._flush_at_s:
            self._file.flush()
            self._flush_at_s = math.inf

    def close(self) -> None:
        """Write what has no end of line yet."""
        for name, decoder in self._decoders.items():
            self._file.write(decoder.decode(b"", True), name)
        self._file.close()

    def last_lines(self) -> list[str]:
        """The end of the output, for people to see why it failed."""
        try:
            with self._path.open("rb") as file:
                file.seek(max(file.seek(0, os.SEEK_END) - _ERROR_BYTES, 0))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:  # it said nothing, or the disk took nothing
            return []
        return [line for line in lines if line.strip()][-_ERROR_LINES:]


def _call(program: str, arguments: Sequence[str], environ: Mapping[str, str], log: OutputLog | None) -> Ended:
    """Raises: MayNotRun when the system refuses to start the program."""
    from .child import run_plain, run_shown

    try:
        if log is None:
            return run_plain(program, arguments, environ)
        try:
            return run_shown(program, arguments, environ, log.take, log.pause)
        finally:
            log.close()
    except OSError as error:
        if error.filename is None:
            raise
        raise MayNotRun(f"{arguments[0]!r}: {error.strerror or error}") from error


def failure(ended: Ended, last_lines: Sequence[str]) -> str:
    """Why a run has failed: how its command ended, and the last lines of its output.

    >>> from lineart.cli.child import Ended
    >>> failure(Ended(2), ["no such file"])
    'exit status 2\\nno such file'
    """
    how = f"killed by {ended.signal_name}" if ended.signal_name else f"exit status {ended.status}"
    return "\n".join([how, *last_lines])
