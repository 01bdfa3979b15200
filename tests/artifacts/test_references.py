"""References to files of real servers, and what becomes of them when those change."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from blake3 import blake3
from fsspec import filesystem
from fsspec.config import conf as fsspec_configuration

import lineart
import s3server
import scenario
from lineart.artifacts import Entry, References
from lineart.storage.errors import (
    CommError,
    InvalidPathError,
    NotFoundError,
    ReferenceChangedError,
    UsageError,
)


def b3(data: bytes) -> str:
    return f"blake3:{blake3(data).hexdigest()}"


def resolve(
    uri: str,
    name: str | None = None,
    *,
    options: dict[str, Any] | None = None,
    checksum: bool = True,
    max_objects: int | None = None,
) -> list[Entry]:
    return list(References(options).resolve(uri, name, checksum=checksum, max_objects=max_objects))


# Places where files lie: each can put bytes under a key, and remove them


@dataclass
class Place:
    """Somewhere that a reference can point to."""

    base: str
    put: Callable[[str, bytes], None]
    remove: Callable[[str], None]
    options: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="session")
def moto_server() -> Iterator[s3server.S3Server]:
    with s3server.moto() as server:
        yield server


def bucket(server: s3server.S3Server, *, versioned: bool = False) -> Place:
    uri, client = s3server.new_bucket(server), server.client()
    name = uri.removeprefix("s3://")
    if versioned:
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    options = server.storage_options | {"version_aware": versioned}
    return Place(
        uri,
        lambda key, data: client.put_object(Bucket=name, Key=key, Body=data),
        lambda key: client.delete_object(Bucket=name, Key=key),
        {"s3": options},
    )


class _Handler(BaseHTTPRequestHandler):
    files: ClassVar[dict[str, bytes]] = {}

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        data = self.files.get(self.path.partition("?")[0].lstrip("/"))
        if data is None or data.startswith(b"HTTP "):
            self.send_error(404 if data is None else int(data[5:]))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.md5(data).hexdigest()}"')
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """A line per request would bury a failure."""


@contextlib.contextmanager
def http_place() -> Iterator[Place]:
    files: dict[str, bytes] = {}
    handler = type("Handler", (_Handler,), {"files": files})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield Place(f"http://127.0.0.1:{server.server_port}", files.__setitem__, files.__delitem__)
        server.shutdown()
        thread.join()


def file_place(folder: Path) -> Place:
    def put(key: str, data: bytes) -> None:
        scenario.write_tree(folder, {key: data})

    return Place(f"file://{folder}", put, lambda key: (folder / key).unlink())


def memory_place(folder: Path) -> Place:
    system = filesystem("memory")
    base = f"/{folder.name}"
    return Place(
        f"memory:/{base}",
        lambda key, data: system.pipe_file(f"{base}/{key}", data),
        lambda key: system.rm_file(f"{base}/{key}"),
    )


@pytest.fixture(params=["file", "memory", "http", "s3", "s3-versioned"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "http":
        with http_place() as served:
            yield served
    elif request.param == "file":
        yield file_place(tmp_path / "far")
    elif request.param == "memory":
        yield memory_place(tmp_path)
    else:
        server = request.getfixturevalue("moto_server")
        yield bucket(server, versioned=request.param == "s3-versioned")


@pytest.fixture(params=["file", "memory", "s3", "s3-versioned"])
def listed(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Places that can be listed."""
    if request.param == "file":
        return file_place(tmp_path / "far")
    if request.param == "memory":
        return memory_place(tmp_path)
    return bucket(request.getfixturevalue("moto_server"), versioned=request.param == "s3-versioned")


# One file, wherever it lies


def test_file_is_recorded_and_fetched_as_it_was(place: Place, tmp_path: Path) -> None:
    place.put("d/a.bin", b"abc" * 1000)
    (entry,) = resolve(f"{place.base}/d/a.bin", options=place.options)
    assert (entry.path, entry.kind, entry.size_bytes) == ("a.bin", "reference", 3000)
    assert entry.target == f"{place.base}/d/a.bin"
    assert entry.etag or entry.checksum  # something that tells these bytes from others
    References(place.options).check(entry)
    References(place.options).fetch(entry, tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"abc" * 1000


@pytest.mark.parametrize("now", [b"ABC", b"abcd", b""], ids=["same size", "longer", "empty"])
def test_file_that_changed_is_refused(place: Place, tmp_path: Path, now: bytes) -> None:
    place.put("a", b"abc")
    (entry,) = resolve(f"{place.base}/a", options=place.options)
    place.put("a", now)
    if entry.version_id is not None:
        References(place.options).fetch(entry, tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == b"abc"  # a versioned bucket still has it
        return
    with pytest.raises(ReferenceChangedError, match=r"'a' to .* changed since it was logged: .* was .*, is "):
        References(place.options).fetch(entry, tmp_path / "got")
    with pytest.raises(ReferenceChangedError):
        References(place.options).check(entry)


def test_file_that_is_gone_is_not_found(place: Place, tmp_path: Path) -> None:
    place.put("a", b"abc")
    place.put("b", b"abc")
    (entry,) = resolve(f"{place.base}/a", options=place.options)
    place.remove("a")
    if entry.version_id is not None:
        References(place.options).fetch(entry, tmp_path / "got")  # deleting adds a marker, no more
        return
    with pytest.raises(NotFoundError, match="nothing is there"):
        References(place.options).fetch(entry, tmp_path / "got")
    with pytest.raises(NotFoundError, match="nothing is there"):
        resolve(f"{place.base}/a", options=place.options)


def test_name_places_the_file(place: Place) -> None:
    place.put("a", b"abc")
    (entry,) = resolve(f"{place.base}/a", "deep/b.bin", options=place.options)
    assert entry.path == "deep/b.bin"


@pytest.mark.parametrize("name", ["../a", "/a", "a//b"])
def test_name_that_leaves_the_artifact_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_text("a")
    with pytest.raises(InvalidPathError):
        resolve(f"file://{tmp_path}/a", name)
    with pytest.raises(InvalidPathError):
        resolve(f"file://{tmp_path}/a", name, checksum=False)


def test_file_without_etag_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a b%20ü.txt").write_bytes(b"abc")
    (entry,) = resolve(f"file://{tmp_path}/a b%20ü.txt")
    assert (entry.checksum, entry.etag) == (b3(b"abc"), None)


def test_http_file_is_known_by_its_etag_and_named_without_the_query() -> None:
    with http_place() as place:
        place.put("a.bin", b"abc")
        (entry,) = resolve(f"{place.base}/a.bin?token=1")
    assert (entry.path, entry.etag) == ("a.bin", hashlib.md5(b"abc").hexdigest())
    assert entry.target == f"{place.base}/a.bin?token=1"


def test_version_of_a_versioned_bucket_is_recorded(moto_server: s3server.S3Server) -> None:
    place = bucket(moto_server, versioned=True)
    place.put("a", b"one")
    (first,) = resolve(f"{place.base}/a", options=place.options)
    place.put("a", b"two")
    (second,) = resolve(f"{place.base}/a", options=place.options)
    assert first.version_id
    assert second.version_id
    assert first.version_id != second.version_id


# Without looking


def test_without_checksum_nothing_is_asked() -> None:
    (entry,) = resolve("s3://no-such-bucket/deep/model.bin", checksum=False)
    assert entry == Entry("model.bin", "reference", target="s3://no-such-bucket/deep/model.bin")


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("uri", ["data.csv", "/tmp/data.csv", "", "C:\\data"])
def test_path_that_is_no_uri_is_refused(uri: str, checksum: bool) -> None:
    with pytest.raises(UsageError, match="expected a URI"):
        resolve(uri, "name", checksum=checksum)


def test_scheme_that_nothing_serves_is_refused() -> None:
    with pytest.raises(UsageError, match=r"fsspec.available_protocols"):
        resolve("gopher-x://h/p")


def test_server_that_does_not_answer_is_a_communication_error() -> None:
    with http_place() as place:
        gone = place.base
    with pytest.raises(CommError, match="check address and access"):
        resolve(f"{gone}/a")


@pytest.mark.parametrize("status", [403, 500, 503])
def test_http_answer_that_is_no_404_does_not_mean_gone(tmp_path: Path, status: int) -> None:
    with http_place() as place:
        place.put("a", b"abc")
        made = lineart.Artifact("data", "dataset")
        made.add_reference(f"{place.base}/a")
        made.save()
        place.put("a", f"HTTP {status}".encode())
        with pytest.raises(CommError, match=f"{status}") as caught:
            made.download(
                tmp_path / "out", allow_missing_references=True
            )  # it is there, and must not be left out
        assert "\n" not in str(caught.value)


# Folders and prefixes


@pytest.mark.parametrize("slash", ["", "/"])
def test_prefix_ends_at_a_slash_and_keys_stay_whole(listed: Place, slash: str) -> None:
    for key in ("a/b/1", "a/b/c/2", "a/b/c d/ü%", "a/bc/3", "a/b.txt", "a/b-/4"):
        listed.put(key, key.encode())
    entries = resolve(f"{listed.base}/a/b{slash}", options=listed.options)
    assert [entry.path for entry in entries] == sorted(["1", "c/2", "c d/ü%"])
    assert {entry.target for entry in entries} == {f"{listed.base}/a/b/{entry.path}" for entry in entries}
    assert [entry.size_bytes for entry in entries] == [len(f"a/b/{e.path}".encode()) for e in entries]


def test_prefix_goes_below_the_name(listed: Place) -> None:
    listed.put("a/b/1", b"1")
    listed.put("a/b/c/2", b"2")
    entries = resolve(f"{listed.base}/a/b", "raw/", options=listed.options)
    assert [entry.path for entry in entries] == ["raw/1", "raw/c/2"]


def test_half_a_name_is_no_prefix(listed: Place) -> None:
    listed.put("a/bc/3", b"3")
    with pytest.raises(NotFoundError, match="nothing is there"):
        resolve(f"{listed.base}/a/b", options=listed.options)


def test_each_file_of_a_prefix_can_be_fetched_and_is_checked(listed: Place, tmp_path: Path) -> None:
    listed.put("p/1", b"one")
    listed.put("p/2", b"two")
    one, two = resolve(f"{listed.base}/p", options=listed.options)
    listed.put("p/2", b"TWO")
    References(listed.options).fetch(one, tmp_path / "1")
    assert (tmp_path / "1").read_bytes() == b"one"
    if two.version_id is None:
        with pytest.raises(ReferenceChangedError):
            References(listed.options).fetch(two, tmp_path / "2")
    else:
        References(listed.options).fetch(two, tmp_path / "2")
        assert (tmp_path / "2").read_bytes() == b"two"


def test_more_files_than_allowed_are_refused_with_their_number(listed: Place) -> None:
    for number in range(4):
        listed.put(f"p/{number}", b"")
    with pytest.raises(UsageError, match="4 files, more than max_objects=3"):
        resolve(f"{listed.base}/p", options=listed.options, max_objects=3)
    assert len(resolve(f"{listed.base}/p", options=listed.options, max_objects=4)) == 4


def test_listing_of_more_than_a_page_is_whole(moto_server: s3server.S3Server) -> None:
    place = bucket(moto_server)
    keys = [f"p/{number:04}" for number in range(1005)]  # a page of S3 has 1,000
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: place.put(key, b"x"), keys))
    entries = resolve(f"{place.base}/p", options=place.options)
    assert [entry.path for entry in entries] == [key[2:] for key in keys]


# In an artifact


def test_change_of_the_bytes_alone_is_noticed(tmp_path: Path) -> None:
    far = scenario.write_tree(tmp_path / "far", {"a.txt": "alpha"})
    (entry,) = resolve(f"file://{far}/a.txt")
    (far / "a.txt").write_text("other")  # of the same size: only its bytes tell
    with pytest.raises(ReferenceChangedError, match="checksum was blake3:"):
        References().fetch(entry, tmp_path / "got")


def test_run_logs_references_and_the_catalog_lists_them(
    moto_server: s3server.S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = bucket(moto_server)
    # How a user gives credentials that are not in the environment: fsspec's own configuration.
    monkeypatch.setitem(fsspec_configuration, "s3", place.options["s3"])
    place.put("raw/1.csv", b"1")
    place.put("raw/2.csv", b"2")
    with lineart.init(project="team/digits") as run:
        made = lineart.Artifact("data", "dataset")
        made.add_reference(f"{place.base}/raw")
        run.log_artifact(made)
    found = lineart.Api().sql("SELECT version_id, path, uri FROM version_references ORDER BY path").fetchall()
    assert found == [("team/digits/data:v0", name, f"{place.base}/raw/{name}") for name in ("1.csv", "2.csv")]
    made.download(tmp_path / "out")
    assert scenario.read_tree(tmp_path / "out") == {"1.csv": "1", "2.csv": "2"}
    place.put("raw/2.csv", b"3")
    with pytest.raises(ReferenceChangedError, match="ETag was"):
        made.download(tmp_path / "out2")
