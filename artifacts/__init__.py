"""Artifacts: drafts, manifests, versions, references, names and the rules of a project.

May import: storage. The pure core first: `names`, `paths`, `manifest`, `state` (the fold over the log) and
`decisions` (what may be committed); then `draft` and `publish` (the way in), `project` (the commits) and `version`
(the way out), `references` and `diff`.
"""

from __future__ import annotations

from .decisions import Content, LogRequest
from .diff import Change, ManifestDiff, diff_manifests
from .draft import Draft, LocalFile
from .manifest import Entry, Manifest
from .names import ArtifactName, ProjectName
from .project import Project
from .publish import publish
from .references import References
from .state import CollectionState, ProjectState, VersionState
from .version import Version

__all__ = [
    "ArtifactName",
    "Change",
    "CollectionState",
    "Content",
    "Draft",
    "Entry",
    "LocalFile",
    "LogRequest",
    "Manifest",
    "ManifestDiff",
    "Project",
    "ProjectName",
    "ProjectState",
    "References",
    "Version",
    "VersionState",
    "diff_manifests",
    "publish",
]
