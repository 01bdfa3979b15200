"""What commands tell machines about a version: the keys of their JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..artifacts.state import CollectionState, VersionState
    from ..artifacts.version import Version
    from ..tracking.version_signing import ListedAttestation
    from ..tracking.workspace import Workspace


def version_record(version: Version, collection: CollectionState) -> dict[str, Any]:
    """All that the log says about a version."""
    state = version.state
    return {
        "name": str(version.name),
        "project": str(version.project),
        "collection": version.collection,
        "version": f"v{state.number}",
        "type": version.type,
        "digest": state.digest,
        "size_bytes": state.size_bytes,
        "file_count": state.file_count,
        "reference_count": state.reference_count,
        "aliases": list(collection.aliases_of(state.number)),
        "tags": list(state.tags),
        "description": state.description,
        "metadata": dict(state.metadata),
        "created_at": state.created_at,
        "run": state.run,
        "deleted": state.deleted,
    }


def attestation_record(found: ListedAttestation) -> dict[str, Any]:
    """A signed statement."""
    return {
        "kind": found.kind,
        "predicate_type": found.predicate_type,
        "key_ids": list(found.key_ids),
        "signed_by": list(found.signed_by),
        "logged_by": found.logged_by,
        "time": found.time,
        "problem": found.problem,
    }


def collection_record(project: str, found: CollectionState) -> dict[str, Any]:
    """A collection and its newest version; sizes are those of the newest, null when all are deleted."""
    live = found.live()
    newest: VersionState | None = live[-1] if live else None
    return {
        "name": f"{project}/{found.name}",
        "project": project,
        "collection": found.name,
        "type": found.type,
        "description": found.description,
        "versions": len(live),
        "newest": None if newest is None else f"v{newest.number}",
        "aliases": {alias: f"v{number}" for alias, number in sorted(found.aliases.items())},
        "size_bytes": None if newest is None else newest.size_bytes,
        "file_count": None if newest is None else newest.file_count,
        "created_at": None if newest is None else newest.created_at,
    }


def collection_of(workspace: Workspace, version: Version) -> CollectionState:
    """The collection that a version belongs to, as it is now."""
    return workspace.state(version.project).collections[version.collection]
