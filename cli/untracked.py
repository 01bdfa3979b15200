"""What a run read and did not declare, as `art why` and `art run show` say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .output import Cell, printable, size_words

if TYPE_CHECKING:
    from ..lineage import UntrackedInputs
    from ..tracking.workspace import Workspace

_MOST_SHOWN = 20


def found_in(workspace: Workspace, inputs: UntrackedInputs) -> dict[str, str]:
    """By digest the oldest version that has such a file, in any project of the store: it could have been declared."""
    digests = sorted({found.digest for found in inputs.listed if found.digest is not None})
    if not digests:
        return {}
    from ..lineage.untracked import versions_with
    from .whereis import live_versions

    versions = [v for project in workspace.project_names() for v in live_versions(workspace, project)]
    versions.sort(key=lambda version: version.state.created_at)
    return {
        digest: str(version.name)
        for digest, version in versions_with(workspace.store, versions, digests).items()
    }


def untracked_record(inputs: UntrackedInputs, known: Mapping[str, str]) -> dict[str, Any]:
    """The keys of JSON."""
    listed = [
        {
            "uri": found.uri,
            "size_bytes": found.size_bytes,
            "digest": found.digest,
            "found_in": known.get(found.digest or ""),
        }
        for found in inputs.listed
    ]
    return {"untracked": listed if inputs.is_observed else None, "untracked_omitted": inputs.omitted}


def untracked_facts(
    inputs: UntrackedInputs, known: Mapping[str, str], home: str
) -> list[tuple[str, str | Cell]]:
    """One line for each of the first; `home` is left out of the names of versions."""
    facts: list[tuple[str, str | Cell]] = []
    for found in inputs.listed[:_MOST_SHOWN]:
        words = [printable(found.uri)]
        if found.size_bytes is not None:
            words.append(size_words(found.size_bytes))
        if found.digest is not None:
            words.append(f"blake3 {found.digest[:12]}")
            if found.digest in known:
                words.append(f"(the same file is in {known[found.digest].removeprefix(home)})")
        facts.append(("untracked", Cell("  ".join(words), fg="yellow")))
    more = inputs.count - min(len(inputs.listed), _MOST_SHOWN)
    if more:
        facts.append(("untracked", Cell(f"… and {more:,} more", fg="yellow")))
    return facts
