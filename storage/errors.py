"""Every error that Lineart raises, grouped by what a handler would do.

::

    Error                        anything Lineart refuses or cannot do
    ├── UsageError               the call is wrong: change it
    │   ├── InvalidNameError         a collection, alias, tag, project or store name
    │   ├── InvalidPathError         a path inside an artifact
    │   ├── ArtifactNotLoggedError   the artifact has no version yet: log it first
    │   └── ArtifactFinalizedError   the artifact is logged: make a new draft
    ├── NotFoundError            the thing named is not there: check the name
    ├── ConflictError            somebody was first: look again, decide again
    ├── SourceChangedError       a local file changed while it was read: log again
    ├── CommError                the store cannot be reached: try again later
    ├── StoreError               the store refuses: read-only, full, no conditional create
    │   └── FormatError              written by a newer Lineart, or not a Lineart store
    └── IntegrityError           bytes are not what was recorded: verify and repair
        └── ReferenceChangedError    a file outside the store changed since it was logged

A message names the thing, its value, what was expected and the next step, on one line.
"""

from __future__ import annotations

__all__ = [
    "ArtifactFinalizedError",
    "ArtifactNotLoggedError",
    "CommError",
    "ConflictError",
    "Error",
    "FormatError",
    "IntegrityError",
    "InvalidNameError",
    "InvalidPathError",
    "NotFoundError",
    "ReferenceChangedError",
    "SourceChangedError",
    "StoreError",
    "UsageError",
    "WaitTimeoutError",
]


class Error(Exception):
    """Base class of everything that Lineart raises."""

    source: str | None = None  # the local file that could not be read as it was, if that is what it is about


class UsageError(Error):
    """The call is wrong; the same call will fail again."""


class InvalidNameError(UsageError):
    """A name does not fit ``[A-Za-z0-9_.-]{1,128}`` or is reserved."""


class InvalidPathError(UsageError):
    """A path cannot stand in a manifest: absolute, ``..``, NUL, not UTF-8, or a collision."""


class ArtifactNotLoggedError(UsageError):
    """The artifact is a draft: it has no version, digest or bytes in the store yet."""


class ArtifactFinalizedError(UsageError):
    """The artifact is logged and cannot be changed; ``new_draft()`` makes a copy that can."""


class NotFoundError(Error):
    """A store, key, collection, version, alias, run or path that does not exist."""


class ConflictError(Error):
    """The key exists already, or the expected head or alias has moved."""


class SourceChangedError(Error):
    """A local file kept changing while it was being read."""


class CommError(Error):
    """The store did not answer, or answered with an error that may pass."""


class WaitTimeoutError(CommError):
    """What was waited for is still on its way."""


class StoreError(Error):
    """The store answered and refuses: read-only, full, denied, or without conditional create."""


class FormatError(StoreError):
    """The store or an object in it is of a format that this version does not read."""


class IntegrityError(Error):
    """Bytes read are not the bytes recorded."""


class ReferenceChangedError(IntegrityError):
    """What a reference points to is no longer what was logged."""
