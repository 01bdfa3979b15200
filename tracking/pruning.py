"""Deleting what no rule keeps: what the rules need to know is asked of the catalog, the verdicts are the rules' own."""

from __future__ import annotations

import datetime
import fnmatch
import math
from collections.abc import Mapping, Sequence
from functools import partial

from ..artifacts.names import ArtifactName, ProjectName
from ..artifacts.retention import Known, Rules, Verdict, decide_pruning, decide_retention
from ..storage.transaction import Op
from .links import forget_dead_links, forget_link
from .workspace import Workspace

_AT_ONCE = 500  # versions that are deleted in one transaction

_USED = """
SELECT version_id FROM edges WHERE kind = 'used' UNION SELECT input_id FROM derivations
"""
_METRICS = """
SELECT v.version_id, s.key, s.number FROM versions v JOIN summary s USING (run_id)
WHERE s.number IS NOT NULL AND list_contains(?, s.key)
"""


def judge(
    workspace: Workspace,
    project: ProjectName,
    rules: Rules,
    *,
    type: str | None = None,
    pattern: str | None = None,
    now: datetime.datetime,
) -> dict[ArtifactName, Verdict]:
    """What the rules say of each live version of a project, or of those of a type and of names like `pattern`.

    Raises: UsageError without a rule; IntegrityError, CommError.
    """
    rules.check()
    state = workspace.project(project).state()
    for name in state.collections:
        for version in workspace.versions(name, project):
            if version.state.links:
                forget_dead_links(workspace, version)
    known = _known(workspace, project, rules)
    found: dict[ArtifactName, Verdict] = {}
    for name, collection in sorted(workspace.project(project).state().collections.items()):
        if type not in (None, collection.type) or not fnmatch.fnmatchcase(name, pattern or "*"):
            continue
        for verdict in decide_retention(collection, rules, known.get(name, Known()), now=now):
            found[ArtifactName(project, name, f"v{verdict.version.number}")] = verdict
    return found


def prune(
    workspace: Workspace, project: ProjectName, verdicts: Mapping[ArtifactName, Verdict], rules: Rules
) -> list[ArtifactName]:
    """Delete what the verdicts say; the versions that were deleted. What got an alias or a link meanwhile stays.

    Raises: StoreError, CommError.
    """
    doomed = [name for name, verdict in verdicts.items() if not verdict.keep]
    deleted: list[ArtifactName] = []
    for start in range(0, len(doomed), _AT_ONCE):
        batch = {name: verdicts[name] for name in doomed[start : start + _AT_ONCE]}
        ops = workspace.project(project).commit(partial(decide_pruning, verdicts=batch, rules=rules))
        deleted += _deleted(project, ops)
    for name in deleted:
        source = workspace.version(name, deleted_too=True).state.source
        if source is not None:
            forget_link(workspace, workspace.parse(source), str(name))
    return deleted


def _deleted(project: ProjectName, ops: Sequence[Op]) -> list[ArtifactName]:
    return [
        ArtifactName(project, op["collection"], f"v{op['version']}")
        for op in ops
        if op["op"] == "version.delete"
    ]


def _known(workspace: Workspace, project: ProjectName, rules: Rules) -> dict[str, Known]:
    """By collection what the rules ask for."""
    collections = workspace.project(project).state().collections
    used: dict[str, set[int]] = {name: set() for name in collections}
    metrics: dict[str, dict[int, dict[str, float]]] = {
        name: {v.number: _numbers(v.metadata) for v in found.live()} for name, found in collections.items()
    }
    if rules.used or rules.best:
        catalog = workspace.catalog([project])
        try:
            uses = catalog.rows(_USED) if rules.used else []
            asked = [rule.metric for rule in rules.best]
            measured = catalog.rows(_METRICS, [asked]) if asked else []
        finally:
            catalog.close()
        for (text,) in uses:
            name, number = _parsed(workspace, text)
            if name.project == project:
                used.setdefault(name.collection, set()).add(number)
        for text, metric, value in measured:
            name, number = _parsed(workspace, text)
            # What was said of the version itself goes before the summary of its run.
            metrics.setdefault(name.collection, {}).setdefault(number, {}).setdefault(metric, value)
    return {name: Known(frozenset(used[name]), metrics[name]) for name in collections}


def _parsed(workspace: Workspace, text: str) -> tuple[ArtifactName, int]:
    name = workspace.parse(text)
    return name, int(name.reference[1:])


def _numbers(metadata: Mapping[str, object]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in metadata.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }
