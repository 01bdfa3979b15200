"""Logging an artifact: store its bytes, then commit one transaction with version, aliases and edge."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from types import NoneType

from ..artifacts.decisions import LATEST, Content, LogRequest, decide_log
from ..artifacts.draft import Draft
from ..artifacts.names import ArtifactName, ProjectName
from ..artifacts.publish import publish
from ..artifacts.version import Version
from ..storage.errors import NotFoundError, UsageError
from ..storage.snapshot import Progress
from ..storage.transaction import canonical_json
from .artifact import Artifact
from .workspace import Workspace

# Stands in for the content until it is stored; no version has this digest, so what is refused is refused early.
_NOTHING = Content("", 0, 0, 0, (), (), None)


def log_draft(
    workspace: Workspace,
    artifact: Artifact,
    *,
    project: ProjectName | None = None,
    aliases: Sequence[str] = (),
    tags: Sequence[str] = (),
    run: str | None = None,
    derived_from: Sequence[str] | None = None,
    step: int | None = None,
    progress: Progress | None = None,
) -> bool:
    """Make `artifact` a version of its collection and turn it into that version's handle.

    `run` is the id of the run that made it, `step` the last step of its history.
    Returns whether a new version came of it: content that a live version has already only moves the labels.
    Raises: those of `publish`; UsageError for a type conflict or metadata that is not JSON.
    """
    home = workspace.project(project)
    metadata = checked_json(artifact.metadata, f"metadata of artifact {artifact.collection!r}")
    description = checked_description(artifact)
    newest = newest_version(workspace, home.name, artifact.collection)
    draft = artifact.draft
    base = artifact.base
    if artifact.incremental and newest is not None and base is None:
        draft, base = on_top_of(newest, draft), newest
    request = LogRequest(
        collection=artifact.collection,
        type=artifact.type,
        content=_NOTHING,
        aliases=[*artifact.aliases, *aliases],
        tags=[*artifact.tags, *tags],
        metadata=metadata,
        description=description,
        run=run,
        derived_from=derived_from,
        ttl_s=artifact.ttl_s,
        step=step,
    )
    decide_log(home.state(), request)  # refuse a bad name, label or type before any byte is read
    bases = [pack.hex() for version in {base, newest} if version is not None for pack in version.packs]
    content, ops = home.commit_stored(
        lambda: publish(
            workspace.store, draft, base_packs=bases, portable=artifact.portable, progress=progress
        )[1],
        lambda state, stored: decide_log(state, replace(request, content=stored)),
    )
    number = home.state().collections[artifact.collection].by_digest.get(content.digest)
    if number is None:
        raise NotFoundError(
            f"artifact {artifact.collection!r}: the version was deleted as soon as it was logged"
        )
    name = ArtifactName(home.name, artifact.collection, f"v{number}")
    artifact.bind(workspace, workspace.version(name))
    artifact.stored_bytes = content.new_bytes
    return any(op["op"] == "version.create" for op in ops)


def checked_json(value: object, what: str) -> dict[str, object]:
    """`value` as plain JSON data. Raises: UsageError naming `what`."""
    try:
        return dict(json.loads(canonical_json(value)))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(
            f"{what}: {error}; expected JSON values (text, numbers, lists, dictionaries)"
        ) from error


def checked_description(artifact: Artifact) -> str | None:
    """The description. Raises: UsageError when it is no text."""
    if not isinstance(artifact.description, (str, NoneType)):
        raise UsageError(f"description of artifact {artifact.collection!r}: expected text")
    return artifact.description


def newest_version(workspace: Workspace, project: ProjectName, collection: str) -> Version | None:
    """What ``latest`` points to; None when there is none."""
    found = workspace.project(project).state().collections.get(collection)
    if found is None or LATEST not in found.aliases:
        return None
    return workspace.version(ArtifactName(project, collection, LATEST))


def on_top_of(version: Version, draft: Draft) -> Draft:
    """The entries of `version`, with those of `draft` added or in their place."""
    merged = Draft(version.manifest.values())
    for path, item in draft.items():
        merged.put(path, item)
    return merged
