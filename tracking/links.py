"""Links: a version shown in another collection, such as a registered model, with aliases of its own there.

The rules are in `artifacts.linking`; here the two logs are committed to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..artifacts.decisions import decide_deletion, decide_restoration
from ..artifacts.keeping import demand_kept, packs_now, spare
from ..artifacts.linking import (
    LinkRequest,
    check_link,
    decide_link,
    decide_link_record,
    decide_share,
    decide_unlink_record,
)
from ..artifacts.names import ArtifactName, ProjectName
from ..artifacts.publish import listed_references
from ..artifacts.version import Version
from ..storage.errors import InvalidNameError, NotFoundError, UsageError
from ..storage.transaction import Op
from .workspace import Workspace


def parse_target(workspace: Workspace, target_path: str) -> ArtifactName:
    """Read ``[[entity/]project/]name``. Raises: InvalidNameError, also for one with an alias."""
    if isinstance(target_path, str) and ":" in target_path:
        raise InvalidNameError(
            f"link target {target_path!r}: expected [[entity/]project/]name without an alias; pass aliases=[…]"
        )
    return workspace.parse(target_path)


def link_version(
    workspace: Workspace,
    name: ArtifactName,
    target_path: str,
    aliases: Sequence[str] = (),
    *,
    run: str | None = None,
) -> Version:
    """Make the version `name` a version of the collection at `target_path`, too; that link.

    Of a link its source is linked. `run` is the full id of the run that links. Safe to repeat: what exists stays, and
    only aliases move.
    Raises: NotFoundError; UsageError for a type conflict or the source's own collection; InvalidNameError.
    """
    if isinstance(aliases, str):
        raise UsageError(f"aliases {aliases!r}: expected a list such as [{aliases!r}]")
    version, target = workspace.version(name), parse_target(workspace, target_path)
    request = _link_request(workspace, version, target, aliases)
    source, home = request.source, workspace.project(target.project)

    def kept() -> LinkRequest:
        spare(home, version.packs, f"link of {version.name}")
        return replace(request, version=packs_now(workspace.store, version))

    home.commit_stored(kept, decide_link)
    number = home.state().collections[target.collection].by_digest.get(version.state.digest)
    if number is None:
        raise NotFoundError(
            f"link {target.project}/{target.collection}: the version was deleted as soon as it was made"
        )
    link = workspace.version(replace(target, reference=f"v{number}"))
    if set(link.state.tags) != set(version.state.tags):  # it had been there, with tags of its own
        share_revision(workspace, link.name)
    is_new = link.state.source == str(source)
    workspace.project(source.project).commit(
        lambda state: decide_link_record(state, source, link.name, new=is_new, run=run)
    )
    return link


def name_of_link(workspace: Workspace, name: ArtifactName, target_path: str) -> ArtifactName:
    """What `link_version` would return the name of; nothing is made. Raises: what `link_version` raises."""
    version, target = workspace.version(name), parse_target(workspace, target_path)
    state = workspace.project(target.project).state()
    decide_link(state, _link_request(workspace, version, target, ()))  # what is refused is refused here, too
    found = state.collections.get(target.collection)
    number = None if found is None else found.by_digest.get(version.state.digest)
    if number is None:
        number = 0 if found is None else found.next_version
    return replace(target, reference=f"v{number}")


def _link_request(
    workspace: Workspace, version: Version, target: ArtifactName, aliases: Sequence[str]
) -> LinkRequest:
    """Raises: UsageError for the source's own collection."""
    source = version.name if version.state.source is None else workspace.parse(version.state.source)
    check_link(source, target)
    return LinkRequest(
        collection=target.collection,
        source=source,
        type=version.type,
        version=version.state,
        references=listed_references(version.manifest) if version.state.reference_count else (),
        aliases=aliases,
    )


def share_revision(workspace: Workspace, name: ArtifactName) -> None:
    """Say of a version's source and of all links to it what is said of the version: they share tags and metadata.

    Safe to repeat: who is interrupted leaves some of them as they were until the next revision.
    """
    said = workspace.version(name)
    source = said
    if said.state.source is not None:
        try:
            source = workspace.version(workspace.parse(said.state.source))
        except NotFoundError:  # deleted, or left in another store: the link is all there is
            return
    for other in (source, *live_links(workspace, source)):
        if other.name != said.name:
            target = other.name
            workspace.project(target.project).commit(
                lambda state, target=target: decide_share(state, target, said.state)  # type: ignore[misc]
            )


def unlink_version(workspace: Workspace, name: ArtifactName) -> None:
    """Delete a link with its aliases; its source stays. Raises: NotFoundError; UsageError when it is no link."""
    version = workspace.version(name)
    if version.state.source is None:
        raise UsageError(f"version {version.name} is no link; delete() deletes it")
    delete_version(workspace, version.name, delete_aliases=True)


def delete_version(
    workspace: Workspace, name: ArtifactName, *, delete_aliases: bool = False, reason: str | None = None
) -> Sequence[Op]:
    """Delete a version; of a link also what its source's log says of it. The ops that deleted it.

    `reason` is kept in the log.
    Raises: NotFoundError; UsageError while it is linked elsewhere or, without `delete_aliases`, has aliases.
    """
    version = workspace.version(name)
    forget_dead_links(workspace, version)
    ops = workspace.project(version.project).commit(
        lambda state: decide_deletion(state, version.name, delete_aliases=delete_aliases, reason=reason)
    )
    if version.state.source is not None:
        forget_link(workspace, workspace.parse(version.state.source), str(version.name))
    return ops


def restore_version(workspace: Workspace, name: ArtifactName) -> bool:
    """Bring a deleted version back; False when it is not deleted. A plan to collect its packs is cancelled.

    Its aliases stay where they are now; ``latest`` is set when nothing has it. A link is entered at its source again.
    Raises: NotFoundError when its packs were collected; UsageError when another version has its content.
    """
    version = workspace.version(name, deleted_too=True)
    home = workspace.project(version.project)
    decide_restoration(home.state(), version.name)  # what is refused cancels no plan

    def kept() -> None:
        spare(home, version.packs, f"undelete of {version.name}")
        demand_kept(workspace.store, version.packs, f"version {version.name.short}")

    _, ops = home.commit_stored(kept, lambda state, _: decide_restoration(state, version.name))
    if ops and version.state.source is not None:
        source = workspace.parse(version.state.source)
        workspace.project(source.project).commit(
            lambda state: decide_link_record(state, source, version.name, new=True, run=None)
        )
    return bool(ops)


def forget_dead_links(workspace: Workspace, version: Version) -> None:
    """Take links to `version` that exist no more out of its log: a process that deleted one may have been killed."""
    for target in version.state.links:
        if _live_link(workspace, target) is None:
            forget_link(workspace, version.name, target)


def live_links(workspace: Workspace, version: Version) -> list[Version]:
    """The links to a version that exist, oldest first."""
    found = (_live_link(workspace, target) for target in version.state.links)
    return [link for link in found if link is not None]


def _live_link(workspace: Workspace, target: str) -> Version | None:
    try:
        return workspace.version(workspace.parse(target))
    except NotFoundError:
        return None


def forget_link(workspace: Workspace, source: ArtifactName, target: str) -> None:
    """Take a link out of the log of its source; nothing happens when it is not in it. Raises: NotFoundError."""
    workspace.project(source.project).commit(lambda state: decide_unlink_record(state, source, target))


def registered_model(entity: str, name: str) -> str:
    """Where `Run.link_model` puts a model of this name. Raises: InvalidNameError for a name with a project in it."""
    if "/" in name or ":" in name:
        raise InvalidNameError(
            f"registered model {name!r}: expected a name alone; run.link_artifact() takes a path such as"
            " 'project/name'"
        )
    return f"{ProjectName(entity, 'model-registry')}/{name}"
