"""What changed between two manifests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .manifest import Entry, Manifest


@dataclass(frozen=True, slots=True)
class Change:
    """One path whose entry differs; `before` or `after` is None when it was added or removed."""

    path: str
    before: Entry | None
    after: Entry | None

    @property
    def what(self) -> str:
        """``added``, ``removed``, ``changed``, or ``moved`` for an addition whose bytes stood elsewhere before."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "changed" if self.before.path == self.after.path else "moved"


@dataclass(frozen=True, slots=True)
class ManifestDiff:
    """The changed paths, sorted, and how many files and references are the same."""

    changes: Sequence[Change]
    unchanged: int

    @property
    def changed_bytes(self) -> int:
        """The sizes of what is new or different on the right side."""
        return sum(
            (c.after.size_bytes or 0) for c in self.changes if c.after is not None and c.what != "moved"
        )


def diff_manifests(before: Manifest, after: Manifest) -> ManifestDiff:
    """Compare two manifests path by path; a file that only moved is reported as one change, not two.

    >>> old = Manifest.of([Entry("a", "directory"), Entry("b", "directory")])
    >>> new = Manifest.of([Entry("b", "directory"), Entry("c", "directory")])
    >>> [(c.what, c.path) for c in diff_manifests(old, new).changes]
    [('removed', 'a'), ('added', 'c')]
    """
    return diff_entries(before, after)


def diff_entries(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> ManifestDiff:
    """As `diff_manifests`, for any two maps from path to entry."""
    removed = {path: before[path] for path in before if path not in after}
    by_digest: dict[str, list[str]] = {}
    for path, entry in removed.items():
        if entry.digest is not None and entry.size_bytes:
            by_digest.setdefault(entry.digest, []).append(path)
    changes: list[Change] = []
    unchanged = 0
    for path, entry in after.items():
        old = before.get(path)
        if old == entry:
            unchanged += entry.kind not in ("directory", "symlink")
            continue
        if old is None and entry.digest is not None and by_digest.get(entry.digest):
            old = removed.pop(by_digest[entry.digest].pop(0))
        changes.append(Change(path, old, entry))
    changes += [Change(path, entry, None) for path, entry in removed.items()]
    return ManifestDiff(sorted(changes, key=lambda change: change.path.encode()), unchanged)
