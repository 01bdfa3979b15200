"""Which versions of a workspace are stale: the question of `lineage.stale`, with names and references looked up."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..artifacts.history import parse_full
from ..artifacts.names import ProjectName
from ..artifacts.references import References
from ..lineage.stale import (
    REFERENCE_TIMEOUT_S,
    ReferenceReport,
    Stale,
    Unasked,
    ask_references,
    find_stale,
    judged_versions,
    versions_with_references,
)
from .artifact_reading import reference_options
from .workspace import Workspace

SHOWN = 5  # of what could not be asked

_log = logging.getLogger("lineart")


@dataclass(frozen=True, slots=True)
class StaleReport:
    """What is stale, of how many versions judged; and of references, if they were asked for, what they answered."""

    stale: tuple[Stale, ...]
    judged: int
    changed_references: Mapping[str, str]  # version → what changed
    unasked: tuple[Unasked, ...]  # references that could not be asked in time
    uncompared: int  # references of which nothing was recorded that could be compared


def stale_versions(
    workspace: Workspace,
    names: Sequence[str] = (),
    *,
    projects: Sequence[ProjectName] = (),
    everything: bool = False,
    with_references: bool = False,
    timeout_s: float = REFERENCE_TIMEOUT_S,
) -> StaleReport:
    """Judge the versions `names`, else those of `projects` (default: the one in use) that have an alias.

    With `everything` all live versions of them; with `with_references` also the places of references are asked, for at
    most `timeout_s` seconds.
    Raises: NotFoundError, InvalidNameError, IntegrityError, CommError.
    """
    wanted = [str(workspace.version(name, deleted_too=True).name) for name in names]
    catalog = workspace.catalog()
    try:
        if not names:
            homes = [str(project) for project in projects or [workspace.project_name]]
            wanted = judged_versions(catalog, homes, everything=everything)
        report = ReferenceReport({})
        if with_references:
            known = versions_with_references(catalog, wanted)
            versions = [workspace.version(parse_full(name)) for name in known]
            report = ask_references(versions, References(reference_options()), timeout_s=timeout_s)
        found = find_stale(catalog, wanted, report.changed)
    finally:
        catalog.close()
    return StaleReport(tuple(found), len(wanted), report.changed, report.unasked, report.uncompared)


def warn_of_unasked(report: StaleReport) -> None:
    """Log what could not be asked, for those who get only what is stale."""
    for unasked in report.unasked[:SHOWN]:
        _log.warning("reference %s could not be asked: %s", unasked.place, unasked.reason)
    if len(report.unasked) > SHOWN:
        _log.warning("%d more references could not be asked", len(report.unasked) - SHOWN)
