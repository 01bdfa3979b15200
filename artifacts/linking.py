"""What may be committed about links: versions in another collection that share a version's content.

A link is a version of its own, with its own number and aliases, whose `source` names the version it was made from.
It stands in two logs: first in the target's (`version.create` with `source`), then in the source's (`version.link`),
so that the source cannot be deleted unnoticed. What a crash between the two leaves out is made up for when the same
link is made again; the target's log alone is enough for lineage, and for the content not to be collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..storage.errors import UsageError
from ..storage.transaction import Op
from .decisions import Content, LogRequest, decide_log, decide_revision, find_version
from .names import ArtifactName
from .state import ProjectState, VersionState


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """The wish to make a version of `collection` that shares the content of `source`."""

    collection: str
    source: ArtifactName  # with its number
    type: str
    version: VersionState  # the content
    references: Sequence[tuple[str, str]] = ()  # as in `Content`
    aliases: Sequence[str] = ()


def decide_link(state: ProjectState, request: LinkRequest) -> list[Op]:
    """Ops for the target's log. A live version with this content is taken as it is: only aliases move.

    Raises: UsageError for a type conflict; InvalidNameError.
    """
    version = request.version
    content = Content(
        digest=version.digest,
        size_bytes=version.size_bytes,
        file_count=version.file_count,
        reference_count=version.reference_count,
        packs=version.packs,
        meta_packs=version.meta_packs,
        packs_object=version.packs_object,
        index=version.index,
        references=request.references,
    )
    found = state.collections.get(request.collection)
    is_new = found is None or version.digest not in found.by_digest
    return decide_log(
        state,
        LogRequest(
            collection=request.collection,
            type=request.type,
            content=content,
            aliases=request.aliases,
            tags=version.tags,
            # Shared from then on (`share_revision`): of a link that exists it is there.
            metadata=version.metadata if is_new else {},
            description=version.description if is_new else None,
            source=str(request.source),
        ),
    )


def decide_link_record(
    state: ProjectState, source: ArtifactName, target: ArtifactName, *, new: bool, run: str | None
) -> list[Op]:
    """Ops for the source's log, none when it has the link already; `run` is the full id of the run that linked.

    Raises: NotFoundError.
    """
    version = find_version(state, source, deleted_too=True)
    if str(target) in version.links:
        return []
    where = {"collection": source.collection, "version": version.number, "target": str(target)}
    return [{"op": "version.link", **where, "new": new, "run": run}]


def decide_unlink_record(state: ProjectState, source: ArtifactName, target: str) -> list[Op]:
    """Ops that take a link out of the source's log, none when it is not in it. Raises: NotFoundError."""
    version = find_version(state, source, deleted_too=True)
    if target not in version.links:
        return []
    where = {"collection": source.collection, "version": version.number, "target": target}
    return [{"op": "version.unlink", **where}]


def decide_share(state: ProjectState, name: ArtifactName, said: VersionState) -> list[Op]:
    """Ops that give a version the tags and metadata of another one of its family; none when it was deleted.

    Raises: NotFoundError.
    """
    version = find_version(state, name, deleted_too=True)
    if version.deleted:
        return []
    return decide_revision(state, name, metadata=said.metadata, change_tags=lambda _: said.tags)


def check_link(source: ArtifactName, target: ArtifactName) -> None:
    """Raises: UsageError when a collection would be linked to itself."""
    if (source.project, source.collection) == (target.project, target.collection):
        raise UsageError(
            f"link of {source.short} to {target.project}/{target.collection}: that is its own collection;"
            " give it an alias there instead"
        )
