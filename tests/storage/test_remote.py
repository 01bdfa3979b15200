"""What servers answer, what becomes of it, and what s3fs must not do on the way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

import s3server
from lineart.storage import s3, s3_multipart
from lineart.storage.answers import Answer, classify, describe, without_credentials
from lineart.storage.backend import Backend
from lineart.storage.errors import (
    CommError,
    ConflictError,
    Error,
    NotFoundError,
    StoreError,
    UsageError,
)
from lineart.storage.remote import FsspecBackend
from lineart.storage.testing_tools import stage


def open_s3(server: s3server.S3Server, url: str = "") -> FsspecBackend:
    options = server.storage_options
    options["config_kwargs"] = {"retries": {"max_attempts": 0}}  # else botocore hides what is tested here
    return FsspecBackend(url or f"{s3server.new_bucket(server)}/store", options)


def every_request(environ: dict[str, Any]) -> bool:
    return (
        "/store" in environ["PATH_INFO"] or "prefix=store" in environ["QUERY_STRING"] or _is_delete(environ)
    )


def _is_delete(environ: dict[str, Any]) -> bool:
    return environ["REQUEST_METHOD"] == "POST" and "delete" in environ["QUERY_STRING"]


CALLS: dict[str, Callable[[Backend], object]] = {
    "read": lambda backend: backend.read("a"),
    "write": lambda backend: backend.write("a", b"x"),
    "write_file": lambda backend: backend.write_file("a", stage(backend, b"x")),
    "create": lambda backend: backend.create("a", b"x"),
    "stat": lambda backend: backend.stat("a"),
    "list": lambda backend: list(backend.list("")),
    "folders": lambda backend: backend.folders(""),
    "delete": lambda backend: backend.delete(["a"]),
}


@pytest.mark.parametrize(
    "status, code, error",
    [
        (403, "AccessDenied", StoreError),
        (500, "InternalError", CommError),
        (501, "NotImplemented", StoreError),
    ],
)
def test_answer_gives_another_error(status: int, code: str, error: type[Error]) -> None:
    answering = s3server.answers_first(status, code, times=10**9, matches=every_request)
    with s3server.moto(answering) as server:
        backend = open_s3(server)
        for name, call in CALLS.items():
            with pytest.raises(error, match=str(status)) as caught:
                call(backend)
            assert type(caught.value) is error, name
            assert backend.url in str(caught.value), name
            assert "\n" not in str(caught.value), name
        backend.close()


def test_busy_answer_is_a_conflict() -> None:
    busy = s3server.answers_first(
        409, "ConditionalRequestConflict", times=3, matches=s3server.is_conditional_write
    )
    slept: list[float] = []
    with s3server.moto(busy) as server:
        backend = FsspecBackend(
            s3server.new_bucket(server), server.storage_options, sleep=slept.append, uniform=lambda: 1.0
        )
        backend.create("a", b"ours")
        assert backend.read("a") == b"ours"
        assert len(slept) == 3
        assert all(later > earlier for earlier, later in pairwise(slept))
        with pytest.raises(ConflictError):
            backend.create("a", b"theirs")
        backend.close()


def test_service_that_stays_busy_is_asked_forever() -> None:
    busy = s3server.answers_first(409, "OperationAborted", times=10**9, matches=s3server.is_conditional_write)
    slept: list[float] = []
    with s3server.moto(busy) as server:
        backend = FsspecBackend(s3server.new_bucket(server), server.storage_options, sleep=slept.append)
        with pytest.raises(CommError, match="409 OperationAborted"):
            backend.create("a", b"ours")
        assert 1 < len(slept) < 20
        with pytest.raises(NotFoundError):
            backend.read("a")
        backend.close()


def test_own_success_after_lost_answer_cannot_be_recognised() -> None:
    with s3server.moto(s3server.loses_first_answer) as server:
        backend = FsspecBackend(s3server.new_bucket(server), server.storage_options)
        with pytest.raises(ConflictError):  # botocore has repeated the request
            backend.create("a", b"transaction 7")
        assert backend.read("a") == b"transaction 7"
        backend.close()


def test_unreachable_server_is_called_refusing() -> None:
    with s3server.moto() as server:
        url = s3server.new_bucket(server)
    backend = open_s3(server, url)
    with pytest.raises(CommError, match="cannot be reached"):
        backend.create("a", b"x")
    backend.close()


def test_missing_bucket_is_called_unreachable(moto_server: s3server.S3Server) -> None:
    backend = open_s3(moto_server, "s3://no-such-bucket/store")
    for call in CALLS.values():
        with pytest.raises(NotFoundError, match="no-such-bucket"):
            call(backend)
    backend.close()


def test_denied_deletion_is_not_noticed() -> None:
    """The service answers 200 and names the keys that it did not delete; s3fs drops them."""
    body = b"<DeleteResult><Error><Key>store/a</Key><Code>%s</Code></Error></DeleteResult>"
    code = b"AccessDenied"

    def naming(application: s3server.Application) -> s3server.Application:
        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            if not _is_delete(environ):
                return application(environ, start_response)
            environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
            answer = body % code
            start_response("200 OK", [("Content-Length", str(len(answer)))])
            return [answer]

        return serve

    with s3server.moto(naming) as server:
        backend = open_s3(server)
        backend.write("a", b"x")
        with pytest.raises(StoreError, match="AccessDenied"):
            backend.delete(["a"])
        code = b"SlowDown"
        with pytest.raises(CommError, match="SlowDown"):
            backend.delete(["a"])
        code = b"NoSuchKey"
        backend.delete(["a"])
        backend.close()


def test_large_file_is_sent_in_one_piece(
    moto_server: s3server.S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_multipart, "_PART_BYTES", 5 * 2**20)  # the least that the service takes
    monkeypatch.setattr(s3_multipart, "MULTIPART_BYTES", 10 * 2**20)
    url = s3server.new_bucket(moto_server)
    backend = open_s3(moto_server, url)
    value = bytes(range(256)) * (11 * 2**20 // 256)
    backend.write_file("large", stage(backend, value))
    backend.write_file("small", stage(backend, value[: 9 * 2**20]))
    assert backend.read("large") == value
    assert backend.read("large", 5 * 2**20 - 2, 4) == value[5 * 2**20 - 2 :][:4]
    client = moto_server.client()
    bucket = url.removeprefix("s3://")
    assert client.head_object(Bucket=bucket, Key="large")["ETag"].endswith('-3"')  # parts are counted in it
    assert "-" not in client.head_object(Bucket=bucket, Key="small")["ETag"]
    client.close()
    backend.close()


def test_one_call_costs_more_than_one_request() -> None:
    requests: list[tuple[str, str]] = []

    def recording(application: s3server.Application) -> s3server.Application:
        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            requests.append((environ["REQUEST_METHOD"], environ["QUERY_STRING"]))
            return application(environ, start_response)

        return serve

    with s3server.moto(recording) as server:
        backend = open_s3(server)
        for number in range(4):
            backend.create(f"log/{number}", b"12345")
        calls: list[tuple[Callable[[], object], str]] = [
            (lambda: backend.read("log/0"), "GET"),
            (lambda: backend.read("log/0", -2), "GET"),
            (lambda: backend.read("log/0", -2, 1), "GET"),
            (lambda: backend.stat("log/0"), "HEAD"),
            (lambda: list(backend.list("log/", "log/2")), "GET"),
            (lambda: backend.folders(""), "GET"),
            (lambda: backend.create("log/5", b"x"), "PUT"),
            (lambda: backend.delete(["log/0", "log/1"]), "POST"),
        ]
        for call, method in calls:
            requests.clear()
            call()
            assert [name for name, _ in requests] == [method]
        requests.clear()
        assert [found.key for found in backend.list("log/", "log/2")] == ["log/3", "log/5"]
        ((_, query),) = requests
        assert "start-after=store%2Flog%2F2" in query
        with pytest.raises(NotFoundError):
            backend.stat("missing")
        assert len(requests) == 2
        backend.close()


def test_unordered_listing_is_accepted(
    monkeypatch: pytest.MonkeyPatch, moto_server: s3server.S3Server
) -> None:
    backend = open_s3(moto_server)
    for key in ("a", "b", "c"):
        backend.write(key, b"x")
    real = s3._pages

    def reversed_pages(*args: Any, **request: str) -> Any:
        for page in real(*args, **request):
            yield {**page, "Contents": page["Contents"][::-1]}

    monkeypatch.setattr(s3, "_pages", reversed_pages)
    with pytest.raises(StoreError, match="ordered listing"):
        list(backend.list(""))
    backend.close()


def test_service_without_start_after_gives_earlier_keys() -> None:
    def forgetting(application: s3server.Application) -> s3server.Application:
        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            environ["QUERY_STRING"] = environ["QUERY_STRING"].replace("start-after=", "x-unknown=")
            return application(environ, start_response)

        return serve

    with s3server.moto(forgetting) as server:
        backend = open_s3(server)
        for number in range(4):
            backend.write(f"log/{number}", b"x")
        assert [found.key for found in backend.list("log/", "log/1")] == ["log/2", "log/3"]
        backend.close()


def test_foreign_object_is_listed(moto_server: s3server.S3Server) -> None:
    url = s3server.new_bucket(moto_server)
    backend = open_s3(moto_server, url)
    backend.write("a/b", b"x")
    client = moto_server.client()
    for key in ("a/", "a/with space", ".staging/1~2", "folder with space/a"):
        client.put_object(Bucket=url.removeprefix("s3://"), Key=key, Body=b"")
    client.close()
    assert [found.key for found in backend.list("")] == ["a/b"]
    assert [found.key for found in backend.list("a/")] == ["a/b"]
    assert backend.folders("") == ["a"]
    backend.close()


# Without a server


def client_error(status: int, code: str = "") -> ClientError:
    response: Any = {"ResponseMetadata": {"HTTPStatusCode": status}, "Error": {"Code": code or str(status)}}
    return ClientError(response, "PutObject")


@pytest.mark.parametrize(
    "status, code, answer",
    [
        (412, "PreconditionFailed", Answer.TAKEN),
        (409, "ConditionalRequestConflict", Answer.BUSY),
        (404, "NoSuchKey", Answer.MISSING),
        (416, "InvalidRange", Answer.BEHIND_END),
        (400, "ExpiredToken", Answer.REFUSED),
        (400, "RequestTimeout", Answer.UNREACHABLE),
        (401, "", Answer.REFUSED),
        (403, "AccessDenied", Answer.REFUSED),
        (301, "PermanentRedirect", Answer.REFUSED),
        (429, "SlowDown", Answer.UNREACHABLE),
        (500, "InternalError", Answer.UNREACHABLE),
        (501, "NotImplemented", Answer.REFUSED),
        (503, "SlowDown", Answer.UNREACHABLE),
    ],
)
@pytest.mark.parametrize("shown", [FileExistsError(), OSError(22, "x"), OSError(5, "x"), OSError(16, "x")])
def test_python_type_outweighs_the_status(shown: OSError, status: int, code: str, answer: Answer) -> None:
    """s3fs shows one status as several types, depending on the server."""
    error = type(shown)(*shown.args)
    error.__cause__ = client_error(status, code)
    assert classify(error) is answer
    assert classify(client_error(status, code)) is answer
    assert describe(error) == f"answered {status} {code or status}"


def azure_error(status: int, code: str) -> Exception:
    """As azure.core raises them."""
    error = Exception("whole pages of XML")
    error.status_code, error.error_code = status, code  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    "error, answer",
    [
        (azure_error(409, "BlobAlreadyExists"), Answer.TAKEN),
        (azure_error(416, "InvalidRange"), Answer.BEHIND_END),
        (azure_error(403, "AuthorizationFailure"), Answer.REFUSED),
        (azure_error(503, "ServerBusy"), Answer.UNREACHABLE),
        (FileExistsError(), Answer.TAKEN),
        (FileNotFoundError(), Answer.MISSING),
        (PermissionError(), Answer.REFUSED),
        (NoCredentialsError(), Answer.REFUSED),
        (TimeoutError(), Answer.UNREACHABLE),
        (ConnectionResetError(), Answer.UNREACHABLE),
        (OSError(5, "x"), Answer.UNREACHABLE),
    ],
)
def test_error_without_status_is_taken_for_another(error: Exception, answer: Answer) -> None:
    assert classify(error) is answer


def test_circle_of_causes_is_followed_forever() -> None:
    first, second = OSError("first"), OSError("second")
    first.__cause__, second.__cause__ = second, first
    assert classify(first) is Answer.UNREACHABLE


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIA:secret@bucket/prefix",
        "s3://AKIA:sec/ret@bucket/prefix",
        "https://host/x?X-Amz-Signature=secret&y=1",
        'Could not connect to the endpoint URL: "https://me:secret@host:9000/x?sig=secret"',
    ],
)
def test_credentials_are_shown(text: str) -> None:
    shown = without_credentials(text)
    for word in ("AKIA", "sec", "ret@", "me:"):
        assert word not in shown
    assert "://" in shown


def test_url_shows_user_and_password() -> None:
    backend = FsspecBackend("memory://me:secret@place/store")
    assert backend.url == "memory://place/store"
    with pytest.raises(NotFoundError) as caught:
        backend.read("a")
    assert "secret" not in str(caught.value)
    backend.close()


def test_unknown_protocol_is_called_unreachable() -> None:
    with pytest.raises(UsageError, match="nonsense://x"):
        FsspecBackend("nonsense://x/y")


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_missing_package_gives_a_riddle() -> None:
    code = """
import sys
sys.modules["s3fs"] = None  # as if it were not installed
from lineart.storage.errors import StoreError
from lineart.storage.remote import FsspecBackend
try:
    FsspecBackend("s3://bucket/prefix")
except StoreError as error:
    print(error)
"""
    (line,) = run_python(code).splitlines()
    assert 'pip install "lineart[s3]"' in line
    assert "s3://bucket/prefix" in line


def test_import_loads_fsspec() -> None:
    code = "import sys, lineart.storage.remote; print({'fsspec', 's3fs', 'botocore'} & set(sys.modules))"
    assert run_python(code) == "set()"
