"""Large files to S3 in parts, some at a time; what an earlier attempt has sent is not sent again.

An upload that was broken off, by a lost line or a killed process, stays where it was, unfinished. Whoever sends the
same bytes to the same key next finds it and sends the rest. The laws of this module:

- A part that lies there counts only when its content is known to be ours: by its SHA-256 where the service keeps one,
  else by its ETag where that is the MD5. An upload with a part that is not ours is another's, and left alone.
- What is put together is named part by part by ETag, so that two who work on one upload at once make the value or
  fail, but never mix. Who finds the upload gone (the other was faster, or a collector has tidied up) looks whether the
  value is there, by the ETag or checksum over all parts, and otherwise begins anew.
- Nothing is aborted here: it may be what somebody else goes on with. `abort_before` is for the collector.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .answers import Answer, classify, error_code
from .errors import CommError

__all__ = ["MULTIPART_BYTES", "abort_before", "upload"]

MULTIPART_BYTES = 64 * 1024 * 1024  # from here on in parts
_PART_BYTES = 16 * 1024 * 1024
_MAX_PARTS = 10_000  # the limit of the service
_AT_ONCE = 4  # as much in memory
_ATTEMPTS = 4  # each repeat means that somebody finished, aborted or changed the upload meanwhile
_GONE = {"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "InvalidRequest", "EntityTooSmall"}


@dataclass(frozen=True, slots=True)
class _Part:
    """One part of a file."""

    number: int  # from 1
    offset: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Sent:
    """A part that lies there: the name the service gave it, and its digests (SHA-256 in base64)."""

    etag: str
    sha256: str
    md5: bytes


class _Upload:
    """The attempts to bring one file under one key."""

    def __init__(self, fs: Any, path: str, file: Path) -> None:
        self._fs = fs
        self._bucket, self._key, _ = fs.split_path(path)
        self._file = file
        self._parts = _parts_of(file.stat().st_size)
        # Who has switched checksums off speaks to a service that does not know them.
        config = fs.s3.meta.config
        self._has_checksums = config.request_checksum_calculation != "when_required"

    def run(self) -> None:
        for attempt in range(_ATTEMPTS):
            found = self._find() if attempt < 2 else None
            try:
                self._continue(*(found or (self._begin(), {})))
                return
            except Exception as error:  # file systems raise anything; all but what is asked for goes on
                if error_code(error) not in _GONE:
                    raise
                if self._is_there():
                    return
        raise CommError(f"upload of {self._key!r} was disturbed {_ATTEMPTS} times by others; try again")

    def _continue(self, upload_id: str, have: dict[int, _Sent]) -> None:
        """Send what is missing, and put the parts together."""
        missing = [part for part in self._parts if part.number not in have]
        with ThreadPoolExecutor(_AT_ONCE, "lineart-parts") as pool:
            sent = list(pool.map(partial(self._send, upload_id), missing))
        have |= {part.number: found for part, found in zip(missing, sent, strict=True)}
        parts = [
            {
                "PartNumber": number,
                "ETag": found.etag,
                **({"ChecksumSHA256": found.sha256} if self._has_checksums else {}),
            }
            for number, found in sorted(have.items())
        ]
        self._call("complete_multipart_upload", UploadId=upload_id, MultipartUpload={"Parts": parts})

    def _begin(self) -> str:
        checksum = {"ChecksumAlgorithm": "SHA256"} if self._has_checksums else {}
        answer = self._call("create_multipart_upload", **checksum)
        return str(answer["UploadId"])

    def _find(self) -> tuple[str, dict[int, _Sent]] | None:
        """An unfinished upload of these bytes, and the parts of it that are there; that with the most."""
        try:
            candidates = [
                (upload["UploadId"], have)
                for upload in _unfinished(self._fs, self._bucket, self._key)
                if upload["Key"] == self._key and (have := self._verified(upload["UploadId"]))
            ]
        except Exception as error:  # file systems raise anything; who may not look, begins anew
            if classify(error) not in (Answer.REFUSED, Answer.MISSING):
                raise
            return None
        return max(candidates, key=lambda item: len(item[1]), default=None)

    def _verified(self, upload_id: str) -> dict[int, _Sent] | None:
        """The parts of an upload; None when one of them is not of this file."""
        have: dict[int, _Sent] = {}
        parts = {part.number: part for part in self._parts}
        for found in self._listed(upload_id):
            part = parts.get(int(found["PartNumber"]))
            if part is None or int(found["Size"]) != part.size_bytes:
                return None
            sent = self._hashed(self._read(part), str(found["ETag"]))
            checksum = found.get("ChecksumSHA256")
            is_ours = checksum == sent.sha256 if checksum else sent.etag.strip('"') == sent.md5.hex()
            if not is_ours:
                return None
            have[part.number] = sent
        return have

    def _listed(self, upload_id: str) -> Iterator[Mapping[str, Any]]:
        marker: dict[str, Any] = {}
        while True:
            page = self._call("list_parts", UploadId=upload_id, **marker)
            yield from page.get("Parts", ())
            if not page.get("IsTruncated"):
                return
            marker = {"PartNumberMarker": page["NextPartNumberMarker"]}

    def _send(self, upload_id: str, part: _Part) -> _Sent:
        data = self._read(part)
        sent = self._hashed(data, "")
        checksum = {"ChecksumSHA256": sent.sha256} if self._has_checksums else {}
        answer = self._call("upload_part", UploadId=upload_id, PartNumber=part.number, Body=data, **checksum)
        return _Sent(str(answer["ETag"]), sent.sha256, sent.md5)

    def _is_there(self) -> bool:
        """Whether the value under the key is made of these parts."""
        try:
            answer = self._call("head_object", ChecksumMode="ENABLED")
        except Exception as error:  # file systems raise anything
            if classify(error) is not Answer.MISSING:
                raise
            return False
        sent = [self._hashed(self._read(part), "") for part in self._parts]
        md5 = hashlib.md5(b"".join(part.md5 for part in sent), usedforsecurity=False).hexdigest()
        if str(answer["ETag"]).strip('"') == f"{md5}-{len(sent)}":
            return True
        sha256 = hashlib.sha256(b"".join(base64.b64decode(part.sha256) for part in sent)).digest()
        return str(answer.get("ChecksumSHA256")) == f"{base64.b64encode(sha256).decode()}-{len(sent)}"

    def _read(self, part: _Part) -> bytes:
        with self._file.open("rb") as stream:
            stream.seek(part.offset)
            return stream.read(part.size_bytes)

    def _hashed(self, data: bytes, etag: str) -> _Sent:
        return _Sent(
            etag,
            base64.b64encode(hashlib.sha256(data).digest()).decode(),
            hashlib.md5(data, usedforsecurity=False).digest(),
        )

    def _call(self, method: str, **request: Any) -> Any:
        return self._fs.call_s3(method, Bucket=self._bucket, Key=self._key, **request)


def upload(fs: Any, path: str, file: Path) -> None:
    """Put the content of `file` under `path`, which begins with the bucket. Errors are those of s3fs, and CommError."""
    _Upload(fs, path, file).run()


def abort_before(fs: Any, folder: str, before_s: float) -> int:
    """Drop the unfinished uploads below `folder` that were begun before `before_s`; how many there were.

    Nothing that is under a key changes. Who is still at one of them begins anew.
    """
    bucket, prefix, _ = fs.split_path(folder)
    stale = [found for found in _unfinished(fs, bucket, prefix) if found["Initiated"].timestamp() < before_s]
    for found in stale:
        try:
            fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=found["Key"], UploadId=found["UploadId"])
        except Exception as error:  # file systems raise anything
            if classify(error) is not Answer.MISSING:  # finished, or aborted by another
                raise
    return len(stale)


def _unfinished(fs: Any, bucket: str, prefix: str) -> list[Mapping[str, Any]]:
    """The unfinished uploads of keys with this prefix."""
    found: list[Mapping[str, Any]] = []
    marker: dict[str, Any] = {}
    while True:
        page = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **marker)
        found += [upload for upload in page.get("Uploads", ()) if upload["Key"].startswith(prefix)]
        if not page.get("IsTruncated"):
            return found
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def _parts_of(size_bytes: int) -> Sequence[_Part]:
    """The same for the same size, whoever sends it."""
    length = max(_PART_BYTES, -(-size_bytes // _MAX_PARTS))
    starts = range(0, size_bytes, length)
    return [_Part(n, start, min(length, size_bytes - start)) for n, start in enumerate(starts, 1)]
