"""The main job on a store in a bucket: the same commands, the same guarantees, a real S3-speaking server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lineart
import s3server
from lineart.storage import Store, UsageError
from lineart.storage.counting import CountingBackend
from lineart.storage.store import open_backend
from lineart.tracking import Workspace, find_settings

ART = str(Path(sys.executable).with_name("art"))


@pytest.fixture(scope="module")
def server() -> Iterator[s3server.S3Server]:
    with s3server.moto() as running:
        yield running


@pytest.fixture
def bucket(server: s3server.S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket that the environment names, as on a team's machine: credentials through the standard chain."""
    url = s3server.use(server, monkeypatch, "team/store", LINEART_PROJECT="digits")
    monkeypatch.chdir(tmp_path)
    return url


def art(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([ART, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout if code == 0 else done.stderr


def test_bucket_without_store_is_refused_with_the_command_that_makes_one(bucket: str) -> None:
    with pytest.raises(lineart.Error, match="art init"):
        lineart.init()


def test_main_job_in_a_bucket_from_shell_and_python(bucket: str, tmp_path: Path) -> None:
    art("init", bucket, "--no-config")
    data = tmp_path / "data"
    data.mkdir()
    for number in range(300):
        (data / f"{number:03}.txt").write_text(f"row {number}\n" * 50)
    (data / "large.bin").write_bytes(os.urandom(9 << 20))
    art("put", str(data), "-n", "rows", "-t", "dataset")
    with lineart.init(job_type="train") as run:
        rows = run.use_artifact("rows:latest", role="train")
        with rows.open("large.bin") as stream:
            stream.seek(5 << 20)
            assert stream.read(1000) == (data / "large.bin").read_bytes()[5 << 20 :][:1000]
        run.log_artifact(
            data / "007.txt", name="model", type="model", aliases=["production"], derived_from=[rows]
        )
    art("get", "rows:v0", "--root", "copy")
    subprocess.run(["diff", "-r", str(data), "copy"], check=True)
    assert "rows:v0" in art("lineage", "model:production")
    assert json.loads(art("ls", "--json"))
    assert "ok" in art("verify", "--all")
    (data / "007.txt").write_text("changed")
    art("put", str(data), "-n", "rows", "-t", "dataset")
    assert "007.txt" in art("diff", "rows:v0", "rows:v1")
    assert art("cat", "rows:v0/007.txt") == "row 7\n" * 50


def test_reader_with_empty_cache_fetches_one_file_without_the_rest(bucket: str, tmp_path: Path) -> None:
    art("init", bucket, "--no-config")
    data = tmp_path / "data"
    data.mkdir()
    for number in range(400):
        (data / f"{number:03}.bin").write_bytes(os.urandom(2000))
    art("put", str(data), "-n", "rows", "-t", "dataset")
    counting = CountingBackend(open_backend(bucket))
    store = Store.on(counting, cache=tmp_path / "empty-cache")
    workspace = Workspace(store, Workspace.open(find_settings()).project_name)
    wanted = (data / "123.bin").read_bytes()
    with workspace.version("rows:latest").open("123.bin") as stream:
        assert stream.read() == wanted
    assert counting.bytes["read"] < 300_000, "the trailers and one object, not the 800 kB of data"


def test_unreachable_store_is_one_line_that_shows_no_secret(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(lineart.Error) as caught:
        lineart.Api()
    assert "\n" not in str(caught.value)
    assert "testing" not in str(caught.value)
    assert not isinstance(caught.value, UsageError)


def test_options_in_the_address_reach_children_and_make_no_other_store(
    bucket: str, server: s3server.S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "LINEART_STORE"):
        monkeypatch.delenv(name)
    options = f"endpoint={server.endpoint}&region=us-east-1&sse=AES256"
    made = json.loads(art("init", f"{bucket}?{options}", "--json"))
    assert made["store"] == bucket
    assert (tmp_path / "lineart.toml").read_text() == f'store = "{bucket}?{options}"\n'
    child = (
        "import lineart; lineart.init().log({'loss': 1}); print(lineart.Api().artifact('rows:v0').files()[0])"
    )
    (tmp_path / "rows.txt").write_text("1\n2\n")
    art("put", "rows.txt", "-n", "rows", "-t", "dataset")
    assert art("exec", "--", sys.executable, "-c", child).splitlines()[-1] == "rows.txt"
    (tmp_path / "lineart.toml").unlink()
    monkeypatch.setenv("LINEART_STORAGE_OPTIONS", options)
    assert art("--store", bucket, "cat", "rows:v0/rows.txt") == "1\n2\n"
    assert len(list((tmp_path / "home/.cache/lineart/notes").iterdir())) == 1, "one store, one set of notes"
    refused = art("--store", f"{bucket}?secret=geheim", "ls", code=2)
    assert "credential" in refused
    assert "geheim" not in refused


def test_gc_drops_uploads_that_nobody_goes_on_with(bucket: str, server: s3server.S3Server) -> None:
    art("init", bucket, "--no-config")
    client, name = server.client(), bucket.split("/")[2]
    for key in ("team/store/packs/aa/x.pack", "team/storehouse/y"):
        client.create_multipart_upload(Bucket=name, Key=key)  # for this server all of them began in 2010
    assert json.loads(art("gc", "--dry-run", "--json"))["unfinished_uploads"] == 0
    assert json.loads(art("gc", "--json"))["unfinished_uploads"] == 1
    left = client.list_multipart_uploads(Bucket=name)["Uploads"]
    assert [upload["Key"] for upload in left] == ["team/storehouse/y"]
    client.close()
