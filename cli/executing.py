"""`art exec`: any command as a run."""

from __future__ import annotations

import os
import shutil
import sys
from collections import deque
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
    from .child import Ended

NOT_EXECUTABLE, NOT_FOUND = 126, 127  # as every shell has them
_ERROR_LINES = 20  # of the end of the output, kept as the reason of a failure
_SET_FOR_CHILDREN = ("LINEART_ATTACH", "LINEART_RUN_ID", "LINEART_RESUME")


class CannotRun(click.ClickException):
    """The command is not there, or may not be executed."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.exit_code = status


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
    wanted = [Output.parse(text) for text in outputs]
    values = dict(map(parse_pair, config))
    program, arguments = find_program(command)
    for variable in _SET_FOR_CHILDREN if os.environ.get("LINEART_ATTACH") else ():
        del os.environ[variable]  # an exec within an exec is a run of its own
    run = _start(arguments, values, name, group, job_type, tags, run_id, resume)
    try:
        for text in inputs:
            artifact, _, role = text.partition("=")
            run.use_artifact(artifact, role=role or None)
        types = _types(run, wanted)
        note(f"run {run.path} {run.name}")
        environ = child_environment(run, alias=not no_alias)
        ended, last_lines = _run(program, arguments, environ, run, capture=not no_capture)
        if ended.status == 0:
            for output, kind in zip(wanted, types, strict=True):
                run.log_artifact(output.path, name=output.name, type=kind)
    except BaseException as error:
        run.fail(error)
        raise
    _end(run, ended, last_lines)
    note(f"run {run.path} {run.state}")
    return ended.status
