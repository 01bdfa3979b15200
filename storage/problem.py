"""What a verification has found wrong."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import Error

LISTED = 1000  # files that a problem names; of more there is the number


@dataclass(slots=True)
class Problem:
    """One thing that is damaged or missing: its kind, the key under which it lies (or ``""``), and whom it concerns."""

    kind: str  # settings, log, segment, checkpoint, catalog, plan, pack, object, manifest, run
    key: str
    error: Error
    digest: bytes | None = None  # of an object or a pack
    affects: list[tuple[str, str]] = field(default_factory=list)  # name of a version or run, path
    affected: int = 0
    is_advisory: bool = False  # readers do without it, and it can be made again
    repaired: str = ""  # how

    def touch(self, name: str, path: str = "") -> None:
        """Note a file that it concerns."""
        if (name, path) in self.affects:
            return
        self.affected += 1
        if len(self.affects) < LISTED:
            self.affects.append((name, path))
