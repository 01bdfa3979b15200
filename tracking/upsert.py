"""One version from many workers: `Run.upsert_artifact` adds a worker's files, `Run.finish_artifact` makes the version.

What is contributed stands in the project's log under a distributed id until somebody finishes; the rules, and why
nothing is lost when they race, are in `artifacts.contributions`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from ..artifacts.contributions import (
    ContributeRequest,
    decide_contribution,
    decide_finish,
    find_gathering,
    merge,
    merged_request,
)
from ..artifacts.decisions import Content, LogRequest, decide_alias
from ..artifacts.draft import Draft
from ..artifacts.names import ArtifactName
from ..artifacts.project import Project
from ..artifacts.publish import publish
from ..artifacts.state import Contribution, ProjectState, VersionState
from ..artifacts.version import Version
from ..storage.errors import ConflictError, UsageError
from ..storage.transaction import Op
from .artifact import Artifact
from .publishing import checked_description, checked_json, newest_version, on_top_of
from .workspace import Workspace

_ATTEMPTS = 10  # each lost one means that another process has finished in between
_READERS = 8


def new_writer() -> str:
    """What tells the contributions of one run object in one process from all others."""
    return f"{secrets.token_hex(8)}-{os.getpid()}"


def contribute(
    workspace: Workspace,
    artifact: Artifact,
    *,
    project: Project,
    distributed_id: str,
    run: str,
    writer: str,
    aliases: Sequence[str] = (),
) -> None:
    """Store the files of a draft and record them as contributed; the draft stays one. Safe to repeat.

    Raises: those of `publish`; UsageError for a type conflict or metadata that is not JSON.
    """
    metadata = checked_json(artifact.metadata, f"metadata of artifact {artifact.collection!r}")
    request = ContributeRequest(
        collection=artifact.collection,
        type=artifact.type,
        distributed_id=distributed_id,
        run=run,
        writer=writer,
        content=Content("", 0, 0, 0, (), (), None),
        metadata=metadata,
        description=checked_description(artifact),
        aliases=[*artifact.aliases, *aliases],
        tags=artifact.tags,
    )
    decide_contribution(project.state(), request)  # refuse a bad name, label or type before any byte is read
    newest = newest_version(workspace, project.name, artifact.collection)
    bases = [pack.hex() for version in (artifact.base, newest) if version for pack in version.packs]
    project.commit_stored(
        lambda: publish(workspace.store, artifact.draft, base_packs=bases, portable=artifact.portable)[1],
        lambda state, stored: decide_contribution(state, replace(request, content=stored)),
    )


def finish(
    workspace: Workspace,
    artifact: Artifact,
    *,
    project: Project,
    distributed_id: str,
    run: str,
    aliases: Sequence[str] = (),
    step: int | None = None,
) -> None:
    """Make the version of all that was contributed so far, and turn `artifact` into its handle.

    When all of it was finished already, by this process before a crash or by another one, that version is the answer.
    Raises: UsageError when nothing was contributed, or one path with different bytes; those of `publish`.
    """
    request = LogRequest(
        collection=artifact.collection,
        type=artifact.type,
        content=Content("", 0, 0, 0, (), (), None),
        aliases=[*artifact.aliases, *aliases],
        tags=artifact.tags,
        metadata=checked_json(artifact.metadata, f"metadata of artifact {artifact.collection!r}"),
        description=checked_description(artifact),
        run=run,
        ttl_s=artifact.ttl_s,
        step=step,
    )
    for _ in range(_ATTEMPTS):
        gathering = find_gathering(project.state(), artifact.collection, distributed_id)
        if not gathering.waiting:
            number = gathering.finished
            break
        try:
            number = _finish(workspace, project, gathering.waiting, request, distributed_id, artifact)
        except ConflictError:
            continue  # another process was first; look at what is left
        break
    else:
        raise ConflictError(
            f"artifact {artifact.collection!r}, distributed_id {distributed_id!r}: others keep finishing it;"
            " let one process finish"
        )
    if number is None:
        raise UsageError(
            f"artifact {artifact.collection!r} has no contributions under distributed_id {distributed_id!r};"
            " upsert_artifact() them first, with the same distributed_id or in the same group"
        )
    name = ArtifactName(project.name, artifact.collection, f"v{number}")
    if not gathering.waiting:
        project.commit(lambda state: _alias_ops(state, name, request.aliases))
    artifact.bind(workspace, workspace.version(name))


def _finish(
    workspace: Workspace,
    project: Project,
    contributions: Sequence[Contribution],
    request: LogRequest,
    distributed_id: str,
    artifact: Artifact,
) -> int:
    """Merge, store the manifest, commit; the version's number. Raises: ConflictError when another was first."""
    stored = [_version_like(workspace, project, request, found) for found in contributions]
    with ThreadPoolExecutor(_READERS, "lineart-merge") as pool:
        manifests = list(pool.map(lambda version: version.manifest, stored))
    draft = Draft(merge(list(zip(contributions, manifests, strict=True))))
    packs = {pack for version in stored for pack in version.packs}
    newest = newest_version(workspace, project.name, request.collection)
    if newest is not None:
        packs |= set(newest.packs)
        if artifact.incremental:
            draft = on_top_of(newest, draft)
    bases = [pack.hex() for pack in packs]
    complete = merged_request(contributions, request)
    _, ops = project.commit_stored(
        lambda: publish(workspace.store, draft, base_packs=bases, portable=artifact.portable)[1],
        lambda state, stored: decide_finish(
            state, replace(complete, content=stored), distributed_id, contributions
        ),
    )
    return int(next(op["version"] for op in ops if op["op"] == "artifact.finish"))


def _version_like(
    workspace: Workspace, project: Project, request: LogRequest, found: Contribution
) -> Version:
    """A contribution as what can be read: it is stored like a version that has no number yet."""
    state = VersionState(
        number=0,
        digest=found.digest,
        size_bytes=0,
        file_count=0,
        reference_count=0,
        metadata=found.metadata,
        description="",
        tags=found.tags,
        run=found.run,
        created_at="",
        packs=found.packs,
        meta_packs=found.meta_packs,
        packs_object=found.packs_object,
    )
    return Version(workspace.store, project.name, request.collection, found.type, state)


def _alias_ops(state: ProjectState, name: ArtifactName, aliases: Sequence[str]) -> list[Op]:
    return [op for alias in dict.fromkeys(aliases) for op in decide_alias(state, name, alias)]


def checked_distributed_id(given: str | None, group: str | None, run: str) -> str:
    """What contributions are gathered under. Raises: UsageError when neither is there."""
    chosen = given if given is not None else group
    if not isinstance(chosen, str) or not chosen:
        raise UsageError(
            f"run {run} is in no group: pass distributed_id=, or lineart.init(group=…), the same in every worker"
        )
    return chosen
