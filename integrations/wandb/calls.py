"""Functions of the alias that take other arguments than ours, or that only libraries call."""

from __future__ import annotations

import importlib
import os
import re
import secrets
import string
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PathDistribution
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ...storage.errors import Error, UsageError
from ...tracking import Run, Settings, Workspace, account, find_settings, session
from ...tracking.attach import attach, split_run_path
from ...tracking.disabled_run import DisabledRun
from ...tracking.settings import find_run_environment

if TYPE_CHECKING:
    from ...tracking.media import Table
    from ...tracking.plot import Chart
    from ..lightgbm import LogEvaluation

SHIM = Path(__file__).resolve().parents[1] / "shim"

# The release of the SDK whose names and arguments the alias follows: libraries ask for it before they import.
VERSION = next(PathDistribution(path).version for path in SHIM.glob("wandb-*.dist-info"))

RunDisabled = DisabledRun

_said: set[str] = set()
_attached_once = False


def init(
    entity: str | None = None,
    project: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    id: str | None = None,
    name: str | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    config: Any = None,
    config_exclude_keys: Sequence[str] | None = None,
    config_include_keys: Sequence[str] | None = None,
    allow_val_change: bool | None = None,
    group: str | None = None,
    job_type: str | None = None,
    mode: str | None = None,
    force: bool | None = None,
    anonymous: object = None,
    reinit: bool | str | None = None,
    resume: bool | str | None = None,
    resume_from: str | None = None,
    fork_from: str | None = None,
    save_code: bool | None = None,
    tensorboard: bool | None = None,
    sync_tensorboard: bool | None = None,
    monitor_gym: bool | None = None,
    settings: Settings | Mapping[str, Any] | None = None,
    magic: object = None,
) -> Run:
    """`lineart.init`, with the arguments that only the W&B SDK has: those about accounts and servers do nothing.

    Under `art exec` the first call of a process goes on with its run. A call that names another project makes a run
    of its own there, and so does a second call: the script says that these are several runs.
    Raises: what `lineart.init` raises; UsageError for `resume_from` and `fork_from`, which would change history.
    """
    global _attached_once  # noqa: PLW0603 - of the process, as the current run is
    for what, value in (("resume_from", resume_from), ("fork_from", fork_from)):
        if value is not None:
            raise UsageError(
                f"init({what}={value!r}): a run's history is never cut; log a new run with a new id"
            )
    for what, switch in (
        ("sync_tensorboard", sync_tensorboard or tensorboard),
        ("monitor_gym", monitor_gym),
        ("magic", magic),
    ):
        if switch:
            termwarn(f"init({what}={switch!r}) does nothing: log the values with run.log()", repeat=False)
    around = find_run_environment().attach
    if around is not None and id is None and mode != "disabled":
        if _attached_once or _names_another(around, project, entity):
            id = generate_id()
        _attached_once = True
    return session.init(
        project=project,
        entity=entity,
        name=name,
        id=id,
        config=config,
        tags=[tags] if isinstance(tags, str) else tags,
        notes=notes,
        group=group,
        job_type=job_type,
        dir=dir,
        mode=mode,  # type: ignore[arg-type]  # these three are checked there
        resume=resume,  # type: ignore[arg-type]
        reinit=reinit,  # type: ignore[arg-type]
        save_code=save_code,
        config_exclude_keys=config_exclude_keys,
        config_include_keys=config_include_keys,
        allow_val_change=allow_val_change,
        settings=settings,
    )


def _names_another(around: str, project: str | None, entity: str | None) -> bool:
    """Whether a script that runs under `art exec` asks for another project than that of the run around it."""
    home, _ = split_run_path(around)
    if (project in (None, "", home.project)) and (entity in (None, "", home.entity)):
        return False
    wanted = f"{entity or home.entity}/{project or home.project}"
    termwarn(
        f"the script logs to {wanted}, the run of its command is {around};"
        f' "art exec -p {wanted} …" makes them one',
        repeat=False,
    )
    return True


def _attach(attach_id: str | None = None) -> Run:
    """The run ``entity/project/id`` of another process, to log to it from this one; its end is left to that process.

    Raises: UsageError for another form; NotFoundError when there is no such run.
    """
    project, run = split_run_path(attach_id or "")
    settings = find_settings(project=project.project, entity=project.entity)
    made = attach(Workspace.open(settings), run)
    session.adopt(made)
    return made


def login(
    anonymous: object = None,
    key: str | None = None,
    relogin: bool | None = None,
    host: str | None = None,
    force: bool | None = None,
    timeout: int | None = None,
    verify: bool = False,
    referrer: str | None = None,
) -> bool:
    """True: there are no accounts. `verify` checks that the store can be reached and written.

    Raises with `verify`: NotFoundError, StoreError, CommError.
    """
    if verify:
        account.login()
    return True


def require(requirement: str | Sequence[str] | None = None, experiment: object = None) -> None:
    """Nothing: it switches on parts of the W&B SDK that Lineart does not have."""


def setup(settings: Settings | Mapping[str, Any] | None = None) -> None:
    """Nothing: there is no service to start."""


def teardown(exit_code: int | None = None) -> None:
    """End the current run, if one is running."""
    current = session.current_run()
    if current is not None:
        current.finish(exit_code)


def ensure_configured() -> None:
    """Nothing: settings are read when they are needed."""


def termlog(text: str = "", newline: bool = True, repeat: bool = True) -> None:
    """Write a line to stderr; with `repeat=False` the same line only once a process."""
    _terminal("", text, newline, repeat)


def termwarn(text: str, newline: bool = True, repeat: bool = True) -> None:
    """Write a warning to stderr; with `repeat=False` the same one only once a process."""
    _terminal("warning: ", text, newline, repeat)


def termerror(text: str, newline: bool = True, repeat: bool = True) -> None:
    """Write an error to stderr; with `repeat=False` the same one only once a process."""
    _terminal("error: ", text, newline, repeat)


def _terminal(kind: str, text: str, newline: bool, repeat: bool) -> None:
    line = f"lineart: {kind}{text}"
    if repeat or line not in _said:
        _said.add(line)
        sys.stderr.write(
            line + ("\n" if newline else "")
        )  # what the caller asks for: it is not ours to print


def plot_table(
    vega_spec_name: str | Mapping[str, Any],
    data_table: Table,
    fields: Mapping[str, Any],
    string_fields: Mapping[str, Any] | None = None,
    split_table: bool = False,
) -> Chart | Table:
    """The chart, or the table alone when the spec is a preset that lies on a server of W&B: that is told once.

    Raises: UsageError for a column that is missing.
    """
    from ...tracking.plot import plot_table as plot

    if isinstance(vega_spec_name, str) and not vega_spec_name.lstrip().startswith(("{", "wandb/")):
        termwarn(
            f"the chart {vega_spec_name!r} lies on a W&B server; its table is logged as it is", repeat=False
        )
        return data_table
    return plot(vega_spec_name, data_table, fields, string_fields, split_table)


def lightgbm_callback(log_params: bool = True, define_metric: bool = True) -> LogEvaluation:
    """The callback of `lineart.integrations.lightgbm` that logs every round. Raises: Error without a run."""
    from ..lightgbm import log_evaluation

    return log_evaluation(1, log_params, define_metric)


def generate_id(length: int = 8) -> str:
    """Random lower-case letters and digits, fit for a run's id."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(length))


def get_module(name: str, required: str | bool | None = None, lazy: bool = True) -> ModuleType | None:
    """The module `name`, or None when it is not installed. Raises: Error with the text `required`, if it is given."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if required:
            text = required if isinstance(required, str) else f"module {name!r} is needed and not installed"
            raise Error(text) from error
        return None


def make_artifact_name_safe(name: str) -> str:
    """`name` with every character that an artifact's name cannot have as ``_``, at most 128 long.

    >>> make_artifact_name_safe("model/resnet 50")
    'model_resnet_50'
    """
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return safe if len(safe) <= 128 else f"{safe[:63]}..{safe[-63:]}"


def _label(run: Run, repo: str | None = None, code: str | None = None) -> None:
    """Nothing: libraries tell the W&B SDK that way which of them logs."""


def _project_name(run: Run) -> str:
    return run.project


def _join(run: Run, exit_code: int | None = None) -> None:
    run.finish(exit_code)


_OF_RUNS: Mapping[str, Callable[..., object] | property] = {
    "_label": _label,
    "_attach_id": property(lambda run: run.path),
    "join": _join,
    "project_name": _project_name,
    "get_url": lambda run: run.url,
    "get_project_url": lambda run: None,
}


def add_names_to_runs() -> None:
    """Give runs the old names that libraries call on them; one that they have already stays."""
    for kind in (Run, DisabledRun):
        for name, value in _OF_RUNS.items():
            if name not in vars(kind):
                setattr(kind, name, value)
