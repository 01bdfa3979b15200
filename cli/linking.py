"""`art link`: show a version in another collection, with aliases of its own there."""

from __future__ import annotations

import click

from .completion import complete_names
from .options import common_options, json_option, open_workspace
from .output import say, say_json


@click.command()
@click.argument("source", shell_complete=complete_names)
@click.argument("target", metavar="[[ENTITY/]PROJECT/]NAME", shell_complete=complete_names)
@click.option("-a", "--alias", "aliases", multiple=True, help="An alias of the link; may be repeated.")
@json_option
@common_options
def link(source: str, target: str, aliases: tuple[str, ...], as_json: bool) -> None:
    """Show a version in another collection, such as a registered model.

    The link is a version there that shares the files of SOURCE (without a version: its :latest), with a number and
    aliases of its own. The collection is made when it is missing; linking the same version again only moves the
    aliases. "art lineage" follows links, and a version that is linked cannot be deleted.

    With --json: name, source, aliases.

    \b
    art link classifier:v8 model-registry/churn-model -a staging
    """
    from ..tracking.links import link_version

    workspace = open_workspace()
    made = link_version(workspace, workspace.parse(source), target, aliases)
    state = workspace.project(made.project).state()
    named = list(state.collections[made.collection].aliases_of(made.state.number))
    origin = made.state.source or str(workspace.version(source).name)
    if as_json:
        say_json({"name": str(made.name), "source": origin, "aliases": named})
        return
    shown = click.style(str(made.name), fg="cyan", bold=True)
    say(f"{shown}  [{', '.join(named)}]  from {origin}")
