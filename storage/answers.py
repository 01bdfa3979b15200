"""What a server's answer means, by the HTTP status in the chain of causes.

The Python type alone does not tell: s3fs shows 412 and 409 as `FileExistsError`, `OSError(EINVAL)`,
`OSError(EIO)` or `OSError(EBUSY)`, depending on the server. No function here knows of a file system.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping

__all__ = ["Answer", "classify", "describe", "error_code", "without_credentials"]


class Answer(enum.Enum):
    """What a caller can do about it."""

    TAKEN = "taken"  # the condition did not hold: somebody was first
    BUSY = "busy"  # two conditional writes met; neither has won yet: the same key again, now
    MISSING = "missing"
    BEHIND_END = "behind end"  # a range that starts behind the value
    REFUSED = "refused"  # denied, not implemented, malformed: repetition does not help
    UNREACHABLE = "unreachable"  # no answer, or one that may pass


_BY_STATUS = {
    404: Answer.MISSING,
    408: Answer.UNREACHABLE,
    409: Answer.BUSY,
    412: Answer.TAKEN,
    416: Answer.BEHIND_END,
    425: Answer.UNREACHABLE,
    429: Answer.UNREACHABLE,
    501: Answer.REFUSED,
}

# Sent as 400, but about the transfer: the same request may well succeed.
_TRANSFER_CODES = {"RequestTimeout", "IncompleteBody", "BadDigest", "XAmzContentSHA256Mismatch"}

# Raised before anything is sent; by name, so that neither botocore nor aiohttp is imported for it.
_LOCAL_REFUSALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "ParamValidationError",
    "ProfileNotFound",
    "InvalidRegionError",
    "UnauthorizedSSOTokenError",
}


def classify(error: BaseException) -> Answer:
    """The meaning of whatever a file system raised.

    >>> classify(FileExistsError()), classify(TimeoutError())
    (<Answer.TAKEN: 'taken'>, <Answer.UNREACHABLE: 'unreachable'>)
    """
    status, code = _status_and_code(error)
    if status is not None:
        if status == 400 and code in _TRANSFER_CODES:
            return Answer.UNREACHABLE
        if code == "BlobAlreadyExists":  # how Azure says 412, with 409
            return Answer.TAKEN
        known = _BY_STATUS.get(status)
        if known is not None:
            return known
        return Answer.REFUSED if 300 <= status < 500 else Answer.UNREACHABLE
    for cause in _chain(error):
        if isinstance(cause, FileExistsError):
            return Answer.TAKEN
        if isinstance(cause, (FileNotFoundError, IsADirectoryError, NotADirectoryError)):
            return Answer.MISSING
        if isinstance(cause, PermissionError):
            return Answer.REFUSED
        if any(kind.__name__ in _LOCAL_REFUSALS for kind in type(cause).__mro__):
            return Answer.REFUSED
    return Answer.UNREACHABLE


def describe(error: BaseException) -> str:
    """One line for a message: status and code where the server gave them, else type and text; no credentials."""
    status, code = _status_and_code(error)
    if status is not None:
        return f"answered {status} {code}".rstrip()
    text = next(iter(str(error).splitlines()), "")
    if isinstance(error, TimeoutError) and not text:
        text = "no byte has moved for too long"
    return without_credentials(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def error_code(error: BaseException) -> str:
    """The server's own word for it, such as ``NoSuchUpload``; empty when there is none."""
    return _status_and_code(error)[1]


def without_credentials(text: str) -> str:
    """`text` with the user and password taken out of every address in it.

    >>> without_credentials("no answer from https://me:secret/@host:1/x?X-Sig=1")
    'no answer from https://host:1/x'
    """
    return re.sub(r"(?<=://)\S*@|\?\S*", "", text)


def _status_and_code(error: BaseException) -> tuple[int | None, str]:
    for cause in _chain(error):
        response = getattr(cause, "response", None)
        if isinstance(response, Mapping):  # botocore's ClientError
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(status, int):
                return status, str(response.get("Error", {}).get("Code", ""))
        # aiohttp's ClientResponseError and file systems built on it, Azure's HttpResponseError
        status = getattr(cause, "status", getattr(cause, "status_code", None))
        if isinstance(status, int):
            return status, str(getattr(cause, "error_code", None) or "")
    return None, ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, nearest first."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
