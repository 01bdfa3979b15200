"""`art registry policy`: set, show and check the rules by which aliases move."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .completion import complete_names
from .options import common_options, json_option, open_workspace
from .output import printable, say, say_json
from .registry_names import model_name, open_registry, registry_option

if TYPE_CHECKING:
    from ..registry.policy import Policy


@click.group()
@common_options
def policy() -> None:
    """Set, show and check the rules by which aliases move.

    \b
    art registry policy check policy.toml
    art registry policy set policy.toml churn-model
    """


@policy.command(name="check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@common_options
def check(file: Path, as_json: bool) -> None:
    """Read a policy file, and say what it requires; an error names what is wrong in it.

    With --json: digest, description, aliases (by name: require and rollback, lists of clause and because).

    \b
    art registry policy check policy.toml
    """
    found = read_policy_file(file)
    aliases = {
        alias: {
            "require": [{"clause": rule.text, "because": rule.because} for rule in rules.require],
            "rollback": None
            if rules.rollback is None
            else [{"clause": rule.text, "because": rule.because} for rule in rules.rollback],
        }
        for alias, rules in found.aliases.items()
    }
    if as_json:
        say_json({"digest": found.source.digest, "description": found.description, "aliases": aliases})
        return
    say(f"policy {found.source.digest[:12]}  {printable(found.description)}".rstrip())
    for alias, rules in found.aliases.items():
        for kind in ("require", "rollback"):
            for rule in getattr(rules, kind) or ():
                because = f"  ({printable(rule.because)})" if rule.because else ""
                say(f"  {click.style(alias, fg='green')} {kind}: {printable(rule.text)}{because}")


@policy.command(name="set")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("model", required=False, shell_complete=complete_names)
@registry_option
@json_option
@common_options
def set_policy(file: Path, model: str | None, registry: str | None, as_json: bool) -> None:
    """Set the policy of a model, or without MODEL the one that holds for all models of the registry.

    Its text stands in the log, and with each decision its digest: who changes it is seen.

    With --json: name, digest, changed.

    \b
    art registry policy set policy.toml churn-model
    """
    _set(read_policy_file(file).source.text, model, registry, as_json=as_json)


@policy.command(name="unset")
@click.argument("model", required=False, shell_complete=complete_names)
@registry_option
@json_option
@common_options
def unset_policy(model: str | None, registry: str | None, as_json: bool) -> None:
    """Take off the policy of a model, or without MODEL that of the registry.

    With --json: name, digest (null), changed.

    \b
    art registry policy unset churn-model
    """
    _set(None, model, registry, as_json=as_json)


def _set(text: str | None, model: str | None, registry: str | None, *, as_json: bool) -> None:
    from ..registry.policy import ANY

    workspace = open_workspace(create=True)
    wanted = None if model is None else model_name(workspace, model)
    found = open_registry(workspace, str(wanted.project) if wanted is not None else registry)
    project = workspace.project(found.path)
    project.state()
    before = project.position
    made = found.set_policy(text, None if wanted is None else wanted.collection)
    changed = project.position != before
    name = str(found.path) if wanted is None else f"{wanted.project}/{wanted.collection}"
    digest = None if made is None else made.source.digest
    if as_json:
        say_json({"name": name, "digest": digest, "changed": changed})
        return
    if wanted is not None and made is not None:
        state = project.state().collections[wanted.collection]
        for alias in sorted(set(made.aliases) - set(state.protected) - {ANY}):
            said = f"art: {alias} of {name} is not protected and moves without this policy, too"
            click.echo(f'{said}; "art protect {name} {alias}"', err=True)
    shown = click.style(name, fg="cyan", bold=True)
    say(f"{shown}  policy {digest[:12] if digest else 'taken off'}" + ("" if changed else ", as before"))


@policy.command(name="show")
@click.argument("model", required=False, shell_complete=complete_names)
@registry_option
@common_options
def show_policy(model: str | None, registry: str | None) -> None:
    """Print the policy of a model, or without MODEL that of the registry, as the file that was set.

    \b
    art registry policy show churn-model > policy.toml
    """
    from ..artifacts.decisions import find_collection
    from ..storage.errors import NotFoundError

    workspace = open_workspace()
    if model is None:
        found = open_registry(workspace, registry)
        text, name = found.policy, str(found.path)
    else:
        wanted = model_name(workspace, model)
        state = find_collection(workspace.project(wanted.project).state(), wanted.collection)
        text = None if state.policy is None else state.policy.text
        name = wanted.collection
    if text is None:
        raise NotFoundError(
            f'{name} has no policy; set one: "art registry policy set FILE{" MODEL" if model else ""}"'
        )
    click.echo(text, nl=not text.endswith("\n"))


def read_policy_file(path: Path) -> Policy:
    """A policy file, read. Raises: UsageError naming what is wrong in it."""
    from ..registry.policy import read_policy
    from ..storage.errors import UsageError

    try:
        return read_policy(path.read_text(encoding="utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        raise UsageError(f"policy {path}: not UTF-8 text: {error}") from error
