"""What things cost in a bucket: requests are counted by the server, from processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import s3server

ART = str(Path(sys.executable).with_name("art"))
SEEN: list[str] = []


def _counted(application: s3server.Application) -> s3server.Application:
    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        SEEN.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}?{environ.get('QUERY_STRING', '')}")
        return application(environ, start_response)

    return serve


@pytest.fixture(scope="module")
def server() -> Iterator[s3server.S3Server]:
    with s3server.moto(_counted) as running:
        yield running


@pytest.fixture
def store(server: s3server.S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store in a bucket that the environment names, with packs of at most 40 objects."""
    url = s3server.use(server, monkeypatch, LINEART_CACHE=str(tmp_path / "cache"))
    art("init", url, "--no-config")
    return url


def art(*arguments: str) -> tuple[bytes, list[str]]:
    """What a command prints, and the requests that it makes."""
    SEEN.clear()
    done = subprocess.run([ART, *arguments], capture_output=True, check=True)
    return done.stdout, list(SEEN)


@pytest.fixture
def many(store: str, tmp_path: Path, server: s3server.S3Server) -> Path:
    """500 files in 13 packs, logged."""
    client, bucket = server.client(), store.split("/")[2]
    settings = client.get_object(Bucket=bucket, Key="store/lineart.json")["Body"].read()
    settings = settings.replace(b'"max_objects":8192', b'"max_objects":40').partition(b',"verify":')[0] + b"}"
    client.put_object(Bucket=bucket, Key="store/lineart.json", Body=settings)
    client.close()
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(500):
        (folder / f"{number:03}.bin").write_bytes(os.urandom(2000))
    art("put", str(folder), "-n", "many", "-t", "dataset")
    return folder


def test_reads_cost_few_requests_and_none_that_is_not_needed(many: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "cache")
    found, requests = art("cat", "many:latest/250.bin")
    assert found == (many / "250.bin").read_bytes()
    assert len(requests) <= 8, requests
    assert not [request for request in requests if request.startswith("HEAD")]
    found, requests = art("cat", "many:latest/250.bin")
    assert found == (many / "250.bin").read_bytes()
    assert [request.split("?")[0].count("/") for request in requests] == [1], (
        requests
    )  # a listing of the log's tail
    _, requests = art("get", "many:latest", "--root", str(tmp_path / "back"))
    assert len(requests) <= 1 + 13, requests
    assert {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()} == {
        path.name: path.read_bytes() for path in many.iterdir()
    }
    shutil.rmtree(tmp_path / "back")
    _, requests = art("get", "many:latest", "--root", str(tmp_path / "back"))
    assert len(requests) == 1, requests


def test_index_of_a_changed_version_costs_no_reading_of_packs(many: Path, tmp_path: Path) -> None:
    (many / "250.bin").write_bytes(os.urandom(2000))
    _, requests = art("put", str(many), "-n", "many", "-t", "dataset")
    assert not [request for request in requests if request.startswith("GET") and "/packs/" in request]
    shutil.rmtree(tmp_path / "cache")
    found, requests = art("cat", "many:latest/250.bin")
    assert found == (many / "250.bin").read_bytes()
    assert len(requests) <= 10, requests
    found, _ = art("cat", "many:latest/251.bin")
    assert found == (many / "251.bin").read_bytes()


def test_store_that_was_made_anew_at_its_address_is_noticed(
    store: str, tmp_path: Path, server: s3server.S3Server
) -> None:
    (tmp_path / "file").write_text("one")
    art("put", str(tmp_path / "file"), "-n", "data", "-t", "dataset")
    assert art("cat", "data:latest/file")[0] == b"one"
    client, bucket = server.client(), store.split("/")[2]
    for found in client.list_objects_v2(Bucket=bucket)["Contents"]:
        client.delete_object(Bucket=bucket, Key=found["Key"])
    client.close()
    environment = {**os.environ, "LINEART_CACHE": str(tmp_path / "elsewhere")}
    (tmp_path / "file").write_text("two")
    for arguments in (
        ["init", store, "--no-config"],
        ["put", str(tmp_path / "file"), "-n", "data", "-t", "dataset"],
    ):
        subprocess.run([ART, *arguments], check=True, env=environment, capture_output=True)
    done = subprocess.run([ART, "cat", "data:latest/file"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"is another one than before" in done.stderr
    assert art("cat", "data:latest/file")[0] == b"two"


def test_damaged_cache_is_read_anew(many: Path, tmp_path: Path) -> None:
    art("get", "many:latest", "--root", str(tmp_path / "first"))
    for block in (tmp_path / "cache" / "blocks").rglob("*"):
        if block.is_file():
            data = bytearray(block.read_bytes())
            data[len(data) // 2] ^= 0xFF
            block.write_bytes(data)
    art("get", "many:latest", "--root", str(tmp_path / "second"))
    for path in many.iterdir():
        assert (tmp_path / "second" / path.name).read_bytes() == path.read_bytes()
