"""The S3 requests that s3fs's own methods do not make as a store needs them.

- A listing begins behind a key (`StartAfter`) and comes page by page; `find` and `ls` read all of a folder.
- `rm` reports no error for a key that could not be deleted.
- `info` asks a second time, by a listing, when a key is missing.

All go through `S3FileSystem.call_s3`, which signs and repeats them. Paths begin with the bucket. Errors are those
of s3fs, except where said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .errors import CommError, StoreError
from .s3_options import TIMEOUT_S, s3fs_options

__all__ = ["RETRIES", "delete_objects", "head_object", "list_folders", "list_objects", "with_patience"]

RETRIES = (
    1  # of s3fs, each of which is `_ATTEMPTS` of botocore; `RetryingBackend` knows better how long to wait
)
_ATTEMPTS = 3
_CONNECT_S = 4.0  # two lost packets: a SYN is sent again after 1 and after 3 seconds
_KEYS_PER_DELETE = 1000  # the limit of the service
_PASSING_CODES = {"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted"}


def with_patience(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of s3fs, with limits of repetitions and of time without a byte, unless the user has chosen some.

    By default s3fs and botocore together try 25 times: minutes, for a server that closes connections.
    """
    from .s3_session import WatchedSession

    found = s3fs_options(options)
    chosen = dict(found.get("config_kwargs") or {})
    chosen.setdefault("retries", {"total_max_attempts": _ATTEMPTS, "mode": "standard"})
    limit_s = float(options.get("timeout") or chosen.get("read_timeout") or TIMEOUT_S)
    chosen["read_timeout"] = limit_s
    chosen.setdefault("connect_timeout", min(_CONNECT_S, limit_s))
    chosen.setdefault("http_session_cls", WatchedSession)
    return {**found, "config_kwargs": chosen}


def head_object(fs: Any, path: str) -> tuple[int, float]:
    """Size in bytes, and time of change in seconds since the epoch."""
    bucket, key, _ = fs.split_path(path)
    answer = fs.call_s3("head_object", Bucket=bucket, Key=key)
    return int(answer["ContentLength"]), answer["LastModified"].timestamp()


def list_objects(fs: Any, folder: str, start_after: str) -> Iterator[tuple[str, int, float]]:
    """Key below `folder` (which ends with ``/``), size and time of every object whose key is above `start_after`.

    Raises: StoreError when the service does not list in the order of keys: readers of a log depend on it.
    """
    bucket, prefix, _ = fs.split_path(folder)
    first = {"StartAfter": prefix + start_after} if start_after else {}
    last = start_after
    for page in _pages(fs, Bucket=bucket, Prefix=prefix, **first):
        for found in page.get("Contents", ()):
            key = found["Key"][len(prefix) :]
            if key <= start_after:
                continue  # the service does not know StartAfter
            if key < last:
                raise StoreError(
                    f"s3://{bucket} lists {key!r} behind {last!r}: a store needs an ordered listing"
                )
            last = key
            yield key, int(found["Size"]), found["LastModified"].timestamp()


def list_folders(fs: Any, folder: str) -> list[str]:
    """Names of the folders directly below `folder`, which ends with ``/``."""
    bucket, prefix, _ = fs.split_path(folder)
    names = []
    for page in _pages(fs, Bucket=bucket, Prefix=prefix, Delimiter="/"):
        names += [found["Prefix"][len(prefix) : -1] for found in page.get("CommonPrefixes", ())]
    return names


def delete_objects(fs: Any, paths: Sequence[str]) -> None:
    """Delete the objects; missing ones are no error.

    Raises: StoreError or CommError when the service names a key that it did not delete.
    """
    for begin in range(0, len(paths), _KEYS_PER_DELETE):
        pairs = [fs.split_path(path)[:2] for path in paths[begin : begin + _KEYS_PER_DELETE]]
        objects = [{"Key": key} for _, key in pairs]
        answer = fs.call_s3("delete_objects", Bucket=pairs[0][0], Delete={"Objects": objects, "Quiet": True})
        for failure in answer.get("Errors", ()):
            code, key = failure.get("Code", ""), failure.get("Key", "")
            if code in _PASSING_CODES:
                raise CommError(f"s3://{pairs[0][0]} did not delete {key!r}: {code}; try again")
            if code != "NoSuchKey":
                raise StoreError(f"s3://{pairs[0][0]} refuses to delete {key!r}: {code}; check permissions")


def _pages(fs: Any, **request: str) -> Iterator[dict[str, Any]]:
    while True:
        page = fs.call_s3("list_objects_v2", **request)
        yield page
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]
