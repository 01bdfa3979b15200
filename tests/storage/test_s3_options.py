"""Options of a store on S3: what is refused, and that each arrives on the wire with every request."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import s3server
from lineart.storage import s3_multipart
from lineart.storage.backend import Backend
from lineart.storage.errors import StoreError, UsageError
from lineart.storage.notes import Notes
from lineart.storage.overlay import Outbox
from lineart.storage.probe import probe_conditional_create
from lineart.storage.remote import FsspecBackend
from lineart.storage.s3_options import check_options, parse_options, s3fs_options, split_address
from lineart.storage.store import open_backend
from lineart.storage.testing_tools import stage

SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
KEY = "arn:aws:kms:eu-north-1:111122223333:key/abc"


@pytest.mark.parametrize(
    "query, expected",
    [
        ("", {}),
        ("region=eu-west-1", {"region": "eu-west-1"}),
        ("region_name=eu-west-1", {"region": "eu-west-1"}),
        ("endpoint=https://minio.example.org:9000/", {"endpoint": "https://minio.example.org:9000"}),
        ("endpoint_url=http%3A%2F%2F%5B%3A%3A1%5D%3A9000", {"endpoint": "http://[::1]:9000"}),
        ("anon=true&requester_pays=False", {"anon": True, "requester_pays": False}),
        ("profile=team a", {"profile": "team a"}),
        (f"sse=aws:kms&sse_kms_key={KEY}", {"sse": "aws:kms", "sse_kms_key": KEY}),
        ("sse=AES256&timeout=2.5", {"sse": "AES256", "timeout": 2.5}),
    ],
)
def test_options_of_an_address(query: str, expected: dict[str, Any]) -> None:
    assert split_address(f"s3://bucket/some/prefix?{query}") == ("s3://bucket/some/prefix", expected)


@pytest.mark.parametrize(
    "query, words",
    [
        ("regoin=eu-west-1", "unknown option 'regoin'; expected region, endpoint, profile, anon"),
        ("versionId=1", "unknown option 'versionId'"),
        ("client_kwargs=x", "unknown option 'client_kwargs'"),
        ("region", "option 'region' is ''; expected a region"),
        ("region=eu/west", "expected a region such as eu-central-1"),
        ("anon=maybe", "option 'anon' is 'maybe'; expected true or false"),
        ("requester_pays=", "expected true or false"),
        ("sse=rot13", "expected AES256 or aws:kms or aws:kms:dsse"),
        ("sse_kms_key=abc", "needs sse=aws:kms"),
        ("sse=AES256&sse_kms_key=abc", "needs sse=aws:kms"),
        ("timeout=0", "expected seconds above 0"),
        ("timeout=nan", "expected seconds above 0"),
        ("endpoint=minio:9000", "expected an address such as https://"),
        ("endpoint=http://host/path?x=y", "expected an address such as https://"),
        ("region=a&region_name=b", "given twice"),
        ("anon=true&profile=work", "'profile' means nothing"),
        ("profile=a%0Ab", "expected a name"),
    ],
)
def test_wrong_option_is_taken(query: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)) as caught:
        open_backend(f"s3://bucket/prefix?{query}")
    assert "s3://bucket/prefix" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"s3://AKIAEXAMPLE:{SECRET}@bucket/prefix",
        "s3://AKIA/EXAMPLE:wJalr/XUtn@bucket/prefix",
        f"s3://bucket/prefix?secret={SECRET}",
        f"s3://bucket/prefix?key=AKIAEXAMPLE&secret={SECRET}",
        f"s3://bucket/prefix?aws_secret_access_key={SECRET}&region=eu-west-1",
        f"s3://bucket/prefix?AWS_SESSION_TOKEN={SECRET}",
        f"s3://bucket/prefix?X-Amz-Signature={SECRET}",
        f"s3://bucket/prefix?endpoint=https://AKIAEXAMPLE:{SECRET}@host:9000",
        f"gs://bucket/prefix?token={SECRET}",
        f"az://container/prefix?account_key={SECRET}",
        f"sftp://me:{SECRET}@host/prefix",
    ],
)
def test_credentials_in_an_address_are_taken_or_shown(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_backend(url)
    message = str(caught.value)
    for part in (SECRET, "AKIA", "wJalr", "XUtn"):
        assert part not in message
    assert "\n" not in message
    assert "AWS_ACCESS_KEY_ID" in message or "without user and password" in message


@pytest.mark.parametrize("name", ["key", "secret", "token", "aws_access_key_id", "password"])
@pytest.mark.parametrize("inside", [False, True])
def test_credentials_in_a_settings_file_are_taken_or_shown(name: str, inside: bool) -> None:
    table: dict[str, Any] = {name: SECRET}
    with pytest.raises(UsageError, match="is a credential") as caught:
        check_options({"client_kwargs": table} if inside else table, "settings lineart.toml")
    assert SECRET not in str(caught.value)


def test_settings_file_has_the_same_options_and_tables_for_s3fs() -> None:
    found = check_options(
        {
            "endpoint_url": "http://here:1",
            "anon": False,
            "timeout": 5,
            "config_kwargs": {"s3": {"addressing_style": "virtual"}},
        },
        "here",
    )
    assert s3fs_options(found) == {
        "endpoint_url": "http://here:1",
        "anon": False,
        "config_kwargs": {"s3": {"addressing_style": "virtual"}},
    }
    with pytest.raises(UsageError, match=r"unknown option 'regoin'; expected region, .*, client_kwargs"):
        check_options({"regoin": "x"}, "here")
    with pytest.raises(UsageError, match="expected a table"):
        check_options({"client_kwargs": 3}, "here")
    with pytest.raises(UsageError, match="unknown option 'nothing'"):
        parse_options("nothing", "LINEART_STORAGE_OPTIONS")


# On the wire


class Wire:
    """What a server has been asked, with headers."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def middleware(self, application: s3server.Application) -> s3server.Application:
        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            self.requests.append(dict(environ))
            return application(environ, start_response)

        return serve

    def named(self, *, writes: bool) -> list[dict[str, Any]]:
        """Requests that make objects, or all others."""
        return [environ for environ in self.requests if _makes_object(environ) is writes]


def _makes_object(environ: dict[str, Any]) -> bool:
    query = environ["QUERY_STRING"]
    if environ["REQUEST_METHOD"] == "PUT":
        return "partNumber" not in query
    return environ["REQUEST_METHOD"] == "POST" and query.split("&")[0].rstrip("=") == "uploads"


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def server(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3server.S3Server]:
    monkeypatch.setattr(s3_multipart, "MULTIPART_BYTES", 6 << 20)
    monkeypatch.setattr(s3_multipart, "_PART_BYTES", 5 << 20)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with s3server.moto(wire.middleware) as running:
        yield running


def everything(backend: Backend) -> None:
    """Each kind of request that a store makes."""
    probe_conditional_create(backend)
    backend.write("a", b"1")
    backend.write_file("b", stage(backend, b"2"))
    backend.write_file("large", stage(backend, bytes(6 << 20)))
    backend.create("c", b"3")
    assert backend.read("large", 5 << 20, 10) == bytes(10)
    assert backend.read("a") == b"1"
    backend.stat("a")
    assert [found.key for found in backend.list("")] == ["a", "b", "c", "large"]
    backend.folders("")
    assert isinstance(backend, FsspecBackend)
    backend.drop_unfinished(0)
    backend.delete(["a", "b"])


def asked(wire: Wire, server: s3server.S3Server, options: str) -> list[dict[str, Any]]:
    """The requests of `everything` with these options in the address."""
    bucket = s3server.new_bucket(server)
    backend = open_backend(f"{bucket}/store?endpoint={quote(server.endpoint)}&{options}")
    wire.requests.clear()
    everything(backend)
    backend.close()
    methods = {(found["REQUEST_METHOD"], re.sub("=.*", "", found["QUERY_STRING"])) for found in wire.requests}
    assert len(methods) >= 9, methods
    return wire.requests


def test_region_and_credentials_of_the_environment(wire: Wire, server: s3server.S3Server) -> None:
    for environ in asked(wire, server, "region=eu-north-1"):
        assert "Credential=AKIAENVIRONMENT/" in environ["HTTP_AUTHORIZATION"]
        assert "/eu-north-1/s3/aws4_request" in environ["HTTP_AUTHORIZATION"]
        assert "HTTP_X_AMZ_REQUEST_PAYER" not in environ
        assert "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION" not in environ


def test_profile(
    wire: Wire, server: s3server.S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(
        "[profile work]\nregion = ap-south-2\naws_access_key_id = AKIAWORK\naws_secret_access_key = testing\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for environ in asked(wire, server, "profile=work"):
        assert "Credential=AKIAWORK/" in environ["HTTP_AUTHORIZATION"]
        assert "/ap-south-2/s3/aws4_request" in environ["HTTP_AUTHORIZATION"]


def test_profile_that_is_not_there_is_one_line(server: s3server.S3Server) -> None:
    backend = open_backend(f"s3://bucket/store?endpoint={quote(server.endpoint)}&profile=nobody")
    with pytest.raises(StoreError, match=r"ProfileNotFound: .*nobody") as caught:
        backend.read("a")
    assert "\n" not in str(caught.value)
    backend.close()


def test_anonymous_requests_are_signed(wire: Wire, server: s3server.S3Server) -> None:
    bucket = s3server.new_bucket(server)
    plain = open_backend(f"{bucket}/store?endpoint={quote(server.endpoint)}&region=us-east-1")
    plain.write("a", b"1")
    plain.close()
    client = server.client()
    client.put_object_acl(Bucket=bucket[5:], Key="store/a", ACL="public-read")
    client.close()
    backend = open_backend(f"{bucket}/store?endpoint={quote(server.endpoint)}&region=us-east-1&anon=true")
    wire.requests.clear()
    assert backend.read("a") == b"1"
    backend.stat("a")
    for call in (lambda: list(backend.list("")), lambda: backend.write("b", b"2")):
        with contextlib.suppress(StoreError):  # the server may let nobody do that
            call()
    assert len(wire.requests) == 4
    for environ in wire.requests:
        assert "HTTP_AUTHORIZATION" not in environ
        assert "X-Amz-Signature" not in environ["QUERY_STRING"]
    backend.close()


def test_requester_pays_for_every_request(wire: Wire, server: s3server.S3Server) -> None:
    for environ in asked(wire, server, "requester_pays=true&region=us-east-1"):
        what = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ['QUERY_STRING']}"
        assert environ.get("HTTP_X_AMZ_REQUEST_PAYER") == "requester", what


@pytest.mark.parametrize(
    "options, kind, key",
    [
        ("sse=AES256", "AES256", None),
        ("sse=aws:kms", "aws:kms", None),
        (f"sse=aws:kms&sse_kms_key={quote(KEY)}", "aws:kms", KEY),
    ],
)
def test_everything_that_is_made_is_encrypted(
    wire: Wire, server: s3server.S3Server, options: str, kind: str, key: str | None
) -> None:
    asked(wire, server, f"{options}&region=us-east-1")
    made = wire.named(writes=True)
    assert len(made) >= 5
    assert any("uploads" in environ["QUERY_STRING"] for environ in made)
    for environ in made:
        assert environ["HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION"] == kind
        assert environ.get("HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID") == key
    for environ in wire.named(writes=False):
        assert "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION" not in environ


def test_options_make_another_store(tmp_path: Path) -> None:
    plain = open_backend("s3://bucket/team/store")
    options = open_backend("s3://bucket/team/store/?region=eu-west-1&profile=work&sse=AES256")
    assert plain.url == options.url == "s3://bucket/team/store"
    there = [Notes.of(backend, tmp_path) for backend in (plain, options)]
    assert there[0] is not None
    assert there[1] is not None
    assert there[0].settings == there[1].settings
    assert Outbox.of(plain.url, tmp_path).folder == Outbox.of(options.url, tmp_path).folder
    for backend in (plain, options):
        backend.close()


def test_options_of_the_address_go_before_those_beside_it(wire: Wire, server: s3server.S3Server) -> None:
    url = f"{s3server.new_bucket(server)}/store?region=eu-north-1"
    backend = open_backend(url, {"endpoint": server.endpoint, "region": "us-west-2", "requester_pays": True})
    wire.requests.clear()
    backend.write("a", b"1")
    (environ,) = wire.requests
    assert "/eu-north-1/s3/" in environ["HTTP_AUTHORIZATION"]
    assert environ["HTTP_X_AMZ_REQUEST_PAYER"] == "requester"
    backend.close()
