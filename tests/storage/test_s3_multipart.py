"""Large files in parts: what an earlier attempt has sent is not sent again, and never believed unseen."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import s3server
from lineart.storage import s3_multipart
from lineart.storage.errors import CommError, StoreError
from lineart.storage.remote import FsspecBackend
from lineart.storage.retry import RetryingBackend
from lineart.storage.testing_tools import run_in_threads, stage

PART_BYTES = 5 << 20  # the least that the service takes
VALUE = os.urandom(PART_BYTES * 4 + 12_345)
PARTS = 5


@pytest.fixture(autouse=True)
def _smaller_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_multipart, "MULTIPART_BYTES", 2 * PART_BYTES)
    monkeypatch.setattr(s3_multipart, "_PART_BYTES", PART_BYTES)


@dataclass
class Watched:
    """A server, the parts that it was sent, and what it is to do before it answers a request."""

    parts: list[int] = field(default_factory=list)
    before: Callable[[dict[str, Any]], tuple[int, str] | None] = lambda environ: None
    server: s3server.S3Server = field(init=False)

    def middleware(self, application: s3server.Application) -> s3server.Application:
        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            refusal = self.before(environ)
            if refusal is not None:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                return s3server._error(environ, start_response, *refusal)
            if (number := part_number(environ)) is not None:
                self.parts.append(number)
            try:
                return list(application(environ, start_response))
            except KeyError:  # moto's way to say that there is no such upload
                return s3server._error(environ, start_response, 404, "NoSuchUpload")

        return serve


def part_number(environ: dict[str, Any]) -> int | None:
    """Of a request that brings a part."""
    query = dict(pair.partition("=")[::2] for pair in environ["QUERY_STRING"].split("&"))
    return int(query["partNumber"]) if environ["REQUEST_METHOD"] == "PUT" and "partNumber" in query else None


def completes(environ: dict[str, Any]) -> bool:
    return environ["REQUEST_METHOD"] == "POST" and "uploadId=" in environ["QUERY_STRING"]


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    with s3server.moto(made.middleware) as server:
        made.server = server
        yield made


@pytest.fixture
def url(watched: Watched) -> str:
    return s3server.new_bucket(watched.server) + "/store"


@pytest.fixture
def backend(watched: Watched, url: str) -> Iterator[FsspecBackend]:
    opened = FsspecBackend(url, watched.server.storage_options)
    yield opened
    opened.close()


def begun(server: s3server.S3Server, url: str, parts: dict[int, bytes], key: str = "pack") -> str:
    """An unfinished upload with these parts; its id."""
    client = server.client()
    _, _, bucket, folder = url.split("/")
    place: Any = {"Bucket": bucket, "Key": f"{folder}/{key}"}
    upload: str = client.create_multipart_upload(**place, ChecksumAlgorithm="SHA256")["UploadId"]
    for number, data in parts.items():
        client.upload_part(**place, UploadId=upload, PartNumber=number, Body=data, ChecksumAlgorithm="SHA256")
    client.close()
    return upload


def unfinished(server: s3server.S3Server, url: str) -> list[str]:
    client = server.client()
    found = client.list_multipart_uploads(Bucket=url.split("/")[2]).get("Uploads", [])
    client.close()
    return [upload["UploadId"] for upload in found]


def slice_of(number: int, value: bytes = VALUE) -> bytes:
    return value[(number - 1) * PART_BYTES : number * PART_BYTES]


_SENDER = """
import sys
sys.path.insert(0, sys.argv[1])
import s3server
from pathlib import Path
from lineart.storage import s3_multipart
from lineart.storage.remote import FsspecBackend
from lineart.storage.testing_tools import stage
s3_multipart.MULTIPART_BYTES, s3_multipart._PART_BYTES = 10 << 20, 5 << 20
backend = FsspecBackend(sys.argv[3], s3server.S3Server(sys.argv[2]).storage_options)
backend.write_file("pack", stage(backend, Path(sys.argv[4]).read_bytes()))
"""


def test_killed_upload_begins_anew(
    watched: Watched, url: str, backend: FsspecBackend, tmp_path: Path
) -> None:
    (tmp_path / "value").write_bytes(VALUE)
    held, go_on = threading.Event(), threading.Event()

    def hold_most(environ: dict[str, Any]) -> tuple[int, str] | None:
        number = part_number(environ)
        if number is not None and number > 2:
            held.set()
            go_on.wait(60)
            return 503, "SlowDown"
        return None

    watched.before = hold_most
    tests = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-c", _SENDER, tests, watched.server.endpoint, url, str(tmp_path / "value")]
    with subprocess.Popen(command) as sender:
        held.wait(60)
        while sorted(watched.parts) != [1, 2]:
            assert sender.poll() is None
            time.sleep(0.01)
        # The two are there only when they have been answered; listing says so.
        client, place = watched.server.client(), {"Bucket": url.split("/")[2], "Key": "store/pack"}
        (upload,) = unfinished(watched.server, url)
        while len(client.list_parts(**place, UploadId=upload).get("Parts", [])) < 2:
            time.sleep(0.01)
        client.close()
        sender.kill()
    watched.before = lambda environ: None
    go_on.set()
    watched.parts.clear()
    backend.write_file("pack", stage(backend, VALUE))
    assert sorted(watched.parts) == [3, 4, 5]
    assert backend.read("pack") == VALUE
    assert unfinished(watched.server, url) == []


def test_part_of_other_bytes_is_believed(watched: Watched, url: str, backend: FsspecBackend) -> None:
    wrong = bytes(PART_BYTES)
    upload = begun(watched.server, url, {1: slice_of(1), 2: wrong})
    watched.parts.clear()
    backend.write_file("pack", stage(backend, VALUE))
    assert backend.read("pack") == VALUE
    assert sorted(watched.parts) == [1, 2, 3, 4, 5]
    assert unfinished(watched.server, url) == [upload], "it is another's, who may go on with it"


def test_part_of_another_size_is_believed(watched: Watched, url: str, backend: FsspecBackend) -> None:
    begun(watched.server, url, {1: slice_of(1), 2: slice_of(2) + b"x"})
    backend.write_file("pack", stage(backend, VALUE))
    assert backend.read("pack") == VALUE


def test_upload_of_another_key_is_taken(watched: Watched, url: str, backend: FsspecBackend) -> None:
    upload = begun(watched.server, url, {1: slice_of(1)}, key="pack2")
    watched.parts.clear()
    backend.write_file("pack", stage(backend, VALUE))
    assert len(watched.parts) == PARTS
    assert unfinished(watched.server, url) == [upload]


def test_checksum_of_the_service_decides_where_the_etag_is_no_md5(
    ministack_server: s3server.S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with keys of KMS. This server keeps SHA-256 of parts; its ETags are hidden from us here."""
    url = s3server.new_bucket(ministack_server) + "/store"
    upload = begun(ministack_server, url, {1: slice_of(1), 2: slice_of(2)})
    backend = FsspecBackend(url, ministack_server.storage_options)
    sent: list[int] = []
    real = s3_multipart._Upload._send

    def send(self: Any, upload_id: str, part: Any) -> Any:
        assert upload_id == upload
        sent.append(part.number)
        return real(self, upload_id, part)

    hashed = s3_multipart._Upload._hashed

    def without_md5(self: Any, data: bytes, etag: str) -> Any:
        found = hashed(self, data, etag)
        return s3_multipart._Sent(found.etag, found.sha256, bytes(16))

    monkeypatch.setattr(s3_multipart._Upload, "_send", send)
    monkeypatch.setattr(s3_multipart._Upload, "_hashed", without_md5)
    backend.write_file("pack", stage(backend, VALUE))
    assert sorted(sent) == [3, 4, 5]
    assert backend.read("pack") == VALUE
    backend.close()


@pytest.mark.slow
@pytest.mark.parametrize("earlier", [{}, {1: slice_of(1), 4: slice_of(4)}])
def test_two_who_send_the_same_pack_at_once_disturb_each_other(
    watched: Watched, url: str, earlier: dict[int, bytes]
) -> None:
    options = watched.server.storage_options
    for round_number in range(3):
        key = f"pack{round_number}"
        begun(watched.server, url, earlier, key=key) if earlier else None
        backends = [FsspecBackend(url, options) for _ in range(3)]
        files = [stage(one, VALUE) for one in backends]
        start = threading.Barrier(3)

        def send(one: FsspecBackend, file: Path) -> None:
            start.wait(60)  # noqa: B023 - all have ended when the next round begins
            one.write_file(key, file)  # noqa: B023

        run_in_threads([partial(send, *pair) for pair in zip(backends, files, strict=True)])
        assert backends[0].read(key) == VALUE
        for one in backends:
            one.close()


def test_upload_that_was_aborted_meanwhile_fails(watched: Watched, url: str, backend: FsspecBackend) -> None:
    aborted: list[str] = []

    def abort_once(environ: dict[str, Any]) -> None:
        if completes(environ) and not aborted:
            aborted.extend(unfinished(watched.server, url))
            assert backend.drop_unfinished(time.time() + 3600) == 1

    watched.before = abort_once
    backend.write_file("pack", stage(backend, VALUE))
    assert backend.read("pack") == VALUE
    assert len(aborted) == 1
    assert unfinished(watched.server, url) == []


def test_lost_answer_to_the_end_of_an_upload_sends_all_of_it_again(
    watched: Watched, url: str, backend: FsspecBackend
) -> None:
    lost: list[str] = []

    def complete_and_fail(environ: dict[str, Any]) -> tuple[int, str] | None:
        if not completes(environ) or lost:
            return None
        lost.append(environ["QUERY_STRING"])
        client, place = watched.server.client(), {"Bucket": url.split("/")[2], "Key": "store/pack"}
        (upload,) = unfinished(watched.server, url)
        there = client.list_parts(**place, UploadId=upload)["Parts"]
        parts = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in there]
        client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
        client.close()
        return 500, "InternalError"

    watched.before = complete_and_fail
    backend.write_file("pack", stage(backend, VALUE))
    assert lost
    assert sorted(watched.parts) == [1, 2, 3, 4, 5]
    assert backend.read("pack") == VALUE


def test_other_value_under_the_key_is_taken_for_ours(
    watched: Watched, url: str, backend: FsspecBackend
) -> None:
    """An upload vanishes, and of what is there only the size is right."""
    other = VALUE[::-1]

    def replace_once(environ: dict[str, Any]) -> None:
        if completes(environ) and not replaced:
            replaced.append(True)
            backend.drop_unfinished(time.time() + 3600)
            begin = begun(watched.server, url, {n: slice_of(n, other) for n in range(1, PARTS + 1)})
            client, place = watched.server.client(), {"Bucket": url.split("/")[2], "Key": "store/pack"}
            there = client.list_parts(**place, UploadId=begin)["Parts"]
            parts = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in there]
            client.complete_multipart_upload(**place, UploadId=begin, MultipartUpload={"Parts": parts})
            client.close()

    replaced: list[bool] = []
    watched.before = replace_once
    backend.write_file("pack", stage(backend, VALUE))
    assert replaced
    assert backend.read("pack") == VALUE


def test_failed_part_has_all_parts_sent_again(watched: Watched, url: str, backend: FsspecBackend) -> None:
    failed: list[int] = []

    def fail_last(environ: dict[str, Any]) -> tuple[int, str] | None:
        if part_number(environ) == PARTS and len(failed) < 3:  # as often as botocore tries
            failed.append(PARTS)
            return 503, "ServiceUnavailable"
        return None

    watched.before = fail_last
    file = stage(backend, VALUE)
    with pytest.raises(CommError, match="503"):
        backend.write_file("pack", file)
    assert file.exists()
    assert sorted(watched.parts) == [1, 2, 3, 4]
    RetryingBackend(backend).write_file("pack", file)
    assert sorted(watched.parts) == [1, 2, 3, 4, 5]
    assert backend.read("pack") == VALUE


@pytest.mark.parametrize("status, code", [(403, "AccessDenied"), (501, "NotImplemented")])
def test_who_may_not_list_uploads_cannot_send(
    watched: Watched, url: str, backend: FsspecBackend, status: int, code: str
) -> None:
    begun(watched.server, url, {1: slice_of(1)})

    def refuse(environ: dict[str, Any]) -> tuple[int, str] | None:
        lists = environ["REQUEST_METHOD"] == "GET" and "uploads" in environ["QUERY_STRING"]
        return (status, code) if lists else None

    watched.before = refuse
    backend.write_file("pack", stage(backend, VALUE))
    assert backend.read("pack") == VALUE
    with pytest.raises(StoreError, match=code):
        backend.drop_unfinished(time.time())


def test_checksums_that_are_switched_off_are_sent(
    watched: Watched, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For services that do not know them."""
    seen: list[str] = []

    def note(environ: dict[str, Any]) -> None:
        seen.extend(name for name in environ if "CHECKSUM" in name)

    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    backend = FsspecBackend(url, watched.server.storage_options)
    begun(watched.server, url, {2: slice_of(2)})
    watched.before, watched.parts = note, []
    backend.write_file("pack", stage(backend, VALUE))
    assert backend.read("pack") == VALUE
    assert sorted(watched.parts) == [1, 3, 4, 5], "the MD5 says what is there"
    assert set(seen) <= {"HTTP_X_AMZ_CHECKSUM_MODE"}
    backend.close()


def test_young_or_foreign_upload_is_dropped(ministack_server: s3server.S3Server) -> None:
    """Not by moto, for which all uploads began in 2010."""
    url = s3server.new_bucket(ministack_server) + "/store"
    backend = FsspecBackend(url, ministack_server.storage_options)
    ours = begun(ministack_server, url, {1: slice_of(1)})
    elsewhere = begun(ministack_server, f"{url}house", {1: slice_of(1)})
    backend.write("value", b"stays")
    assert backend.drop_unfinished(time.time() - 3600) == 0
    assert set(unfinished(ministack_server, url)) == {ours, elsewhere}
    assert backend.drop_unfinished(time.time() + 3600) == 1
    assert unfinished(ministack_server, url) == [elsewhere]
    assert backend.read("value") == b"stays"
    backend.close()
