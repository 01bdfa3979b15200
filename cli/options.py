"""The options that commands share, and the store that they choose."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import click

from .completion import complete_projects

if TYPE_CHECKING:
    from ..tracking.settings import StoreChoice
    from ..tracking.workspace import Workspace

_F = TypeVar("_F", bound=Callable[..., Any])


def _kept(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Remember a choice for this call; the one that stands nearest to the end wins."""
    if value is not None:
        ctx.meta[f"lineart.{parameter.name}"] = value


def common_options(command: _F) -> _F:
    """Add ``-p``, ``--store`` and ``--debug``, before or after the command's name."""
    project = click.option(
        "-p",
        "--project",
        metavar="[ENTITY/]PROJECT",
        expose_value=False,
        callback=_kept,
        shell_complete=complete_projects,
        help="The project that names without one mean.",
    )
    store = click.option(
        "--store",
        metavar="URL",
        expose_value=False,
        callback=_kept,
        help="The store: a folder, or a URL such as s3://bucket/prefix.",
    )
    debug = click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
    return project(store(debug(command)))


class Length(click.ParamType[float]):
    """A length of time in seconds, typed as a number and its unit: ``0s``, ``90m``, ``12h``, ``7d``, ``2w``, ``1y``."""

    name = "length"
    _FORM = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdwy])\Z")
    _UNIT_S: ClassVar = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = self._FORM.match(str(value))
        if match is None:
            self.fail(f"{value!r}: expected a number and a unit, such as 0s, 12h or 7d", param, ctx)
        return float(match.group(1)) * self._UNIT_S[match.group(2)]


json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON, with the keys named above.")


def given(ctx: click.Context, name: str) -> str | None:
    """The value of a common option, None when it was not given."""
    value: str | None = ctx.meta.get(f"lineart.{name}")
    return value


def chosen_by(settings: StoreChoice) -> str:
    """What chose the store, in words."""
    return "--store" if settings.store_from == "argument" else settings.store_from


def find_given_settings(ctx: click.Context) -> StoreChoice:
    """The settings that options, environment and files say. Raises: UsageError, InvalidNameError."""
    from ..tracking.settings import find_settings

    return find_settings(store=given(ctx, "store"), project=given(ctx, "project"))


def open_workspace(*, create: bool = False) -> Workspace:
    """The store and project in use, closed when the command ends. With `create` a local store is made when missing.

    Raises: NotFoundError that says who chose the store; UsageError, FormatError, StoreError, CommError.
    """
    from ..storage.errors import NotFoundError
    from ..tracking.workspace import Workspace

    ctx = click.get_current_context()
    settings = find_given_settings(ctx)
    try:
        workspace = Workspace.open(settings, create=create)
    except NotFoundError as error:
        who = "the default store" if settings.is_default_store else f"chosen by {chosen_by(settings)}"
        raise NotFoundError(f"{error} ({who})") from error
    ctx.call_on_close(workspace.close)
    return workspace
