"""Completion in the shell: names, aliases, versions, tags, projects. Whatever goes wrong, nothing is offered."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ..artifacts.names import ProjectName
    from ..tracking.workspace import Workspace

Completer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem[str]]"]

# Click's own script gets words that bash has split at ":" and loses what stands before it. Here the line is sent as
# it is, and what bash has split off already is left out of the answers.
_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' item
    COMPREPLY=()
    for item in $(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_BREAKS="$COMP_WORDBREAKS" \
%(complete_var)s=bash_complete "$1" 2>/dev/null); do
        case "$item" in
            dir,*) compopt -o dirnames ;;
            file,*) compopt -o default ;;
            plain,*) COMPREPLY+=("${item#plain,}"); [[ "$item" == *: || "$item" == */ ]] && compopt -o nospace ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


def register_bash() -> None:
    """Put our script for bash in the place of click's."""
    from click.shell_completion import (
        BashComplete,
        add_completion_class,
        split_arg_string,
    )

    class ArtBash(BashComplete):
        """Bash with names that contain ``:``."""

        source_template = _BASH

        def get_completion_args(self) -> tuple[list[str], str]:
            line = os.environ.get("COMP_LINE")
            if line is None:
                return super().get_completion_args()
            words = split_arg_string(line)
            incomplete = words.pop() if words and not line[-1:].isspace() else ""
            self._given = incomplete
            return words[1:], incomplete

        def format_completion(self, item: CompletionItem[str]) -> str:
            value = item.value
            given = getattr(self, "_given", "")
            if ":" in given and ":" in os.environ.get("COMP_BREAKS", ""):
                value = value.removeprefix(given[: given.rindex(":") + 1])
            return f"{item.type},{value}"

    add_completion_class(ArtBash, "bash")


def _quietly(find: Callable[[Workspace, str], Iterable[str]]) -> Completer:
    """A completer that offers what `find` yields, and nothing when it fails."""

    def complete(
        ctx: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        from ..storage.errors import Error
        from ..tracking.workspace import Workspace
        from .options import find_given_settings

        try:
            workspace = Workspace.open(find_given_settings(ctx))
            found = find(workspace, incomplete)
            return [CompletionItem(value) for value in found if value.startswith(incomplete)]
        except (Error, OSError):
            return []  # no store, no answer, half a name: a person at a prompt wants no message

    return complete


def _home(workspace: Workspace, text: str) -> tuple[ProjectName, str]:
    """The project that a half-typed name belongs to, and what was typed before the name."""
    from ..artifacts.names import ProjectName

    project, slash, _ = text.partition(":")[0].rpartition("/")
    name = ProjectName.parse(project, workspace.project_name) if slash else workspace.project_name
    return name, project + slash


def _names(workspace: Workspace, text: str) -> Iterator[str]:
    project, prefix = _home(workspace, text)
    collections = workspace.project(project).state().collections
    collection, colon, _ = text[len(prefix) :].partition(":")
    if not colon:
        yield from (prefix + name for name in sorted(collections))
    elif collection in collections:
        found = collections[collection]
        versions = (f"v{version.number}" for version in reversed(found.live()))
        yield from (f"{prefix}{collection}:{label}" for label in [*sorted(found.aliases), *versions])


def _collections(workspace: Workspace, text: str) -> Iterator[str]:
    project, prefix = _home(workspace, text)
    yield from (prefix + name for name in sorted(workspace.project(project).state().collections))


def _types(workspace: Workspace, text: str) -> Iterable[str]:
    return sorted({found.type for found in workspace.project().state().collections.values()})


def _tags(workspace: Workspace, text: str) -> Iterable[str]:
    collections = workspace.project().state().collections.values()
    return sorted({tag for found in collections for version in found.live() for tag in version.tags})


def _aliases(workspace: Workspace, text: str) -> Iterable[str]:
    collections = workspace.project().state().collections.values()
    return sorted({alias for found in collections for alias in found.aliases if alias != "latest"})


def _runs(workspace: Workspace, text: str) -> Iterator[str]:
    from ..tracking.run_query import RunReader

    project, prefix = _home(workspace, text)
    for run, name in reversed(RunReader(workspace).ids(project)):
        yield prefix + run
        if text[len(prefix) :]:  # names are for those who have begun one
            yield prefix + name


def _projects(workspace: Workspace, text: str) -> Iterator[str]:
    for name in workspace.project_names():
        yield str(name)
        if name.entity == workspace.project_name.entity:
            yield name.project


complete_names = _quietly(_names)
complete_collections = _quietly(_collections)
complete_types = _quietly(_types)
complete_tags = _quietly(_tags)
complete_aliases = _quietly(_aliases)
complete_projects = _quietly(_projects)
complete_runs = _quietly(_runs)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes names in your shell.

    It completes commands, options, artifact names with their aliases and versions, projects, types and tags.

    \b
    echo 'eval "$(art completion bash)"' >> ~/.bashrc
    echo 'eval "$(art completion zsh)"' >> ~/.zshrc
    art completion fish > ~/.config/fish/completions/art.fish
    """
    from click.shell_completion import get_completion_class

    register_bash()
    found = get_completion_class(shell)
    assert found is not None
    root = ctx.find_root()
    script = found(root.command, {}, "art", "_ART_COMPLETE")
    click.echo(script.source(), nl=False)
