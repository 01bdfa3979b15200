"""Stores that are unreachable, full, read-only, newer, damaged or hostile: one line, and nothing is made worse."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import builders
from lineart.artifacts.decisions import decide_alias
from lineart.artifacts.names import ProjectName
from lineart.artifacts.project import Project
from lineart.storage.digest import digest_of
from lineart.storage.errors import (
    CommError,
    ConflictError,
    Error,
    FormatError,
    IntegrityError,
    NotFoundError,
    StoreError,
    UsageError,
)
from lineart.storage.log import BackendLog
from lineart.storage.store import Store
from lineart.storage.transaction import Op
from lineart.tracking import Api, Artifact, init
from lineart.tracking.workspace import Workspace

PROJECT = ProjectName("team", "digits")


def artifact_of(files: dict[str, bytes], name: str = "data") -> Artifact:
    artifact = Artifact(name, "dataset")
    for path, content in files.items():
        with artifact.new_file(path, "xb") as file:
            file.write(content)
    return artifact


def log(files: dict[str, bytes]) -> Artifact:
    with init(project=str(PROJECT)) as run:
        return run.log_artifact(artifact_of(files))


def logs(store: Path) -> dict[str, bytes]:
    files = [path for path in (store / "projects").rglob("*") if path.is_file()]
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


FILES = {"small": b"first", "large": builders.noise(2_500_000), "prose": builders.prose(100_000)}


# Stores that are not there, or of another kind


def test_store_that_is_not_there_is_made_by_a_reader(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        Api()
    builders.one_line(caught.value, str(tmp_path / "store"), "art init")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "url, kind",
    [("s3://", UsageError), ("nonsense://bucket/x", UsageError), ("\0", Error), ("http://", UsageError)],
)
def test_address_that_means_nothing_is_taken(url: str, kind: type[Error]) -> None:
    with pytest.raises(kind) as caught:
        init(store=url, project="digits")
    builders.one_line(caught.value)


def test_unreachable_store_hangs_or_ends_in_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:  # bound, and nobody listens
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
        settings = tmp_path / "lineart.toml"
        settings.write_text(f'[storage_options]\nendpoint = "{endpoint}"\nregion = "us-east-1"\n')
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(CommError) as caught:
            Api(store="s3://bucket/prefix")
        builders.one_line(caught.value, "s3://bucket/prefix")


def test_store_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"not a folder")
    with pytest.raises(Error) as caught:
        log(FILES)
    builders.one_line(caught.value, str(tmp_path / "store"))
    assert (tmp_path / "store").read_bytes() == b"not a folder"


def as_list(text: bytes) -> bytes:
    return b"[]"


def cut(text: bytes) -> bytes:
    return text[: len(text) // 2]


def newer(text: bytes) -> bytes:
    return text.replace(b'"format":1', b'"format":3')


def other_format(text: bytes) -> bytes:
    """That of a store whose logs lie in a database, without the address."""
    return text.replace(b'"format":1', b'"format":2')


def other_log(text: bytes) -> bytes:
    return text.replace(b'"format":1', b'"format":1,"log":{"format":1,"url":"postgresql://db/x"}')


def no_number(text: bytes) -> bytes:
    return text.replace(b'"format":1', b'"format":"1"')


def wrong_limits(text: bytes) -> bytes:
    return text.replace(b'"max_objects":8192', b'"max_objects":"many"')


def no_limits(text: bytes) -> bytes:
    return text.replace(b'"max_objects":8192', b'"max_objects":0')


def deep(text: bytes) -> bytes:
    return b"[" * 200_000


def binary(text: bytes) -> bytes:
    return b"\xff\xfe"


@pytest.mark.parametrize(
    "damage", [as_list, cut, newer, other_format, other_log, no_number, wrong_limits, no_limits, deep, binary]
)
def test_settings_of_a_store_are_wrong_or_newer(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    log(FILES)
    settings = tmp_path / "store" / "lineart.json"
    settings.write_bytes(damage(settings.read_bytes()))
    before = logs(tmp_path / "store")
    for call in (Api, lambda: log({"b": b"b"})):
        with pytest.raises(FormatError) as caught:
            call()
        builders.one_line(caught.value, str(tmp_path / "store"), "upgrade" if damage is newer else "restore")
    assert logs(tmp_path / "store") == before


def commit_by_hand(store: Path, cache: Path, *ops: Op, format: int = 1) -> None:
    """Append what another client has written."""
    opened = Store.open(str(store), cache=cache)
    project = Project(opened, PROJECT)
    project.state()
    position = project.position
    line = json.dumps(
        {
            "actor": {},
            "format": format,
            "id": "f" * 32,
            "ops": ops,
            "prev": position.digest,
            "seq": position.seq + 1,
            "time": "2026-01-02T03:04:05.000006Z",
        }
    )
    key = BackendLog(opened.backend, project.prefix).key(position.seq + 1)
    opened.backend.create(key, line.encode() + b"\n")


@pytest.mark.parametrize("ops, format", [([{"op": "version.sign", "key": 7}], 1), ([{"op": "run.start"}], 2)])
def test_newer_client_is_overwritten(tmp_path: Path, ops: list[Op], format: int) -> None:
    log(FILES)
    commit_by_hand(tmp_path / "store", tmp_path / "cache", *ops, format=format)
    before = logs(tmp_path / "store")
    with pytest.raises(FormatError) as caught:
        log({"b": b"b"})
    builders.one_line(caught.value, str(PROJECT), "upgrade")
    assert logs(tmp_path / "store") == before
    artifact = Api().artifact(f"{PROJECT}/data:latest")  # reading goes on
    artifact.download(tmp_path / "out")
    assert builders.files_below(tmp_path / "out") == FILES
    with pytest.raises(FormatError):
        artifact.delete()


@pytest.mark.parametrize(
    "op",
    [
        {"op": "version.create", "collection": "data", "version": 7},
        {"op": "version.delete", "collection": "nowhere", "version": 0},
        {"op": "alias.move", "collection": "data", "alias": "latest", "from": 5, "to": 0},
        {"op": ["x"]},
        {"op": "alias.move"},
        {},
    ],
)
def test_contradicting_log_is_continued(tmp_path: Path, op: Op) -> None:
    log(FILES)
    commit_by_hand(tmp_path / "store", tmp_path / "cache", op)
    before = logs(tmp_path / "store")
    for call in (lambda: log({"b": b"b"}), lambda: Api().artifact(f"{PROJECT}/data:latest")):
        with pytest.raises(IntegrityError) as caught:
            call()
        builders.one_line(caught.value, "transaction")
    assert logs(tmp_path / "store") == before


# Damage


def flip_each(pack: Path) -> None:
    for position in range(8, pack.stat().st_size, 997):
        builders.flip(pack, position)


def cut_short(pack: Path) -> None:
    os.truncate(pack, pack.stat().st_size // 2)


def remove(pack: Path) -> None:
    pack.unlink()


@pytest.mark.parametrize("damage", [flip_each, cut_short, remove])
@pytest.mark.parametrize("which", range(2))
def test_damaged_pack_is_downloaded(tmp_path: Path, damage: Callable[[Path], None], which: int) -> None:
    log(FILES)
    artifact = Api().artifact(f"{PROJECT}/data:latest")
    needed = {name.hex() for name in artifact._logged().packs}
    pack = [path for path in builders.pack_paths(tmp_path / "store") if path.stem in needed][which]
    damage(pack)
    builders.write_old(tmp_path / "out" / "small", b"mine")
    with pytest.raises((IntegrityError, NotFoundError)) as caught:
        artifact.download(tmp_path / "out")
    builders.one_line(caught.value, pack.stem[:12], "art verify")
    for name, content in builders.files_below(tmp_path / "out").items():
        assert content in (FILES[name], b"mine")


@pytest.mark.parametrize("damage", [flip_each, cut_short, remove])
def test_damaged_version_hinders_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    """Who has lost a pack must be able to log the data again, also from a machine that never saw the store."""
    log(FILES)
    for pack in builders.pack_paths(tmp_path / "store"):
        damage(pack)
    monkeypatch.setenv("LINEART_CACHE", str(tmp_path / "other"))
    content = {"other": builders.noise(5000, 5)}
    artifact = log(content)
    assert artifact.version == "v1"
    artifact.download(tmp_path / "out")
    assert builders.files_below(tmp_path / "out") == content


# Disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A store on a disk of its own, of 8 MiB; the caches lie elsewhere."""
    if not builders.has_mounts():
        pytest.skip("this process may not mount")
    with builders.mounted(tmp_path / "store", "-o", "size=8m") as folder:
        yield folder


@builders.as_root
def test_full_store_loses_or_shows_something(tmp_path: Path, disk: Path) -> None:
    log(FILES)
    before = logs(disk)
    with pytest.raises(StoreError) as caught:
        log({"huge": builders.noise(9_000_000, 3)})
    builders.one_line(caught.value, str(disk))
    after = logs(disk)
    assert before.items() <= after.items()  # the failed run itself may be there
    assert [a.version for a in Api().artifacts("dataset", f"{PROJECT}/data")] == ["v0"]
    small = {"more": builders.noise(1_000_000, 4)}
    artifact = log(small)
    assert artifact.version == "v1"
    artifact.download(tmp_path / "out")
    assert builders.files_below(tmp_path / "out") == small


@builders.as_root
def test_read_only_store_is_written_or_unreadable(tmp_path: Path, disk: Path) -> None:
    log(FILES)
    before = builders.files_below(disk)
    builders.remount(disk, "ro")
    for call in (lambda: log({"b": b"b"}), lambda: Api().artifact(f"{PROJECT}/data:latest").delete()):
        with pytest.raises(StoreError) as caught:
            call()
        builders.one_line(caught.value, str(disk))
    Api().artifact(f"{PROJECT}/data:latest").download(tmp_path / "out")
    assert builders.files_below(tmp_path / "out") == FILES
    assert builders.files_below(disk) == before


def use_as_nobody(folder: str) -> list[str]:
    root = Path(folder)
    os.environ.update(builders.environment(root))
    log(FILES)
    for path in (root / "cache").rglob("*"):
        path.chmod(0o777 if path.is_dir() else 0o666)
    (root / "cache").chmod(0o777)
    builders.become_nobody()
    messages = []
    for call in (lambda: log({"b": b"b"}), lambda: Api().artifact(f"{PROJECT}/data:latest").delete()):
        try:
            call()
        except StoreError as error:
            messages.append(builders.one_line(error, str(root / "store"), "Permission denied"))
    Api().artifact(f"{PROJECT}/data:latest").download(root / "out")
    if builders.files_below(root / "out") != FILES:
        messages.append("the download differs")
    return messages


@builders.as_root
def test_store_of_another_user_is_written_or_unreadable() -> None:
    with builders.public_folder() as folder:
        assert len(builders.in_child(use_as_nobody, str(folder))) == 2


@builders.as_root
def test_full_target_keeps_a_half_file(tmp_path: Path) -> None:
    if not builders.has_mounts():
        pytest.skip("this process may not mount")
    artifact = log(FILES)
    with builders.mounted(tmp_path / "out", "-o", "size=1m") as target:
        with pytest.raises(StoreError) as caught:
            artifact.download(target)
        builders.one_line(caught.value, str(target), "No space left")
        found = builders.files_below(target)
        assert all(FILES[name] == content for name, content in found.items())
        builders.remount(target, "ro")
        with pytest.raises(StoreError) as caught:
            artifact.download(target)
        builders.one_line(caught.value, str(target), "Read-only")


@builders.as_root
def test_full_cache_is_called_a_full_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not builders.has_mounts():
        pytest.skip("this process may not mount")
    log(FILES)
    with builders.mounted(tmp_path / "cache", "-o", "size=64k") as cache:
        monkeypatch.setenv("LINEART_CACHE", str(cache))
        with pytest.raises(StoreError) as caught:
            log({f"{n}": f"{n}".encode() for n in range(2000)})
        builders.one_line(caught.value, str(cache), "LINEART_CACHE")
    assert [a.version for a in Api().artifacts("dataset", f"{PROJECT}/data")] == ["v0"]


# Hostile manifests


D = digest_of(b"evil").hex()
HOSTILE = {
    "above": f'["../evil","f","{D}",4]\n',
    "far above": f'["a/../../evil","f","{D}",4]\n',
    "absolute": f'["/tmp/evil","f","{D}",4]\n',
    "drive": f'["C:evil","f","{D}",4]\n',
    "backslash": f'["..\\\\evil","f","{D}",4]\n',
    "NUL": f'["a\\u0000b","f","{D}",4]\n',
    "surrogate": f'["\\ud800","f","{D}",4]\n',
    "empty path": f'["","f","{D}",4]\n',
    "empty part": f'["a//b","f","{D}",4]\n',
    "twice": f'["a","f","{D}",4]\n["a","f","{D}",4]\n',
    "out of order": f'["b","f","{D}",4]\n["a","f","{D}",4]\n',
    "twins": f'["cafe\u0301","f","{D}",4]\n["caf\u00e9","f","{D}",4]\n',
    "through a file": f'["a","f","{D}",4]\n["a/b","f","{D}",4]\n',
    "through a link": f'["a","l","b"]\n["a/evil","f","{D}",4]\n',
    "link above": '["a","l","../evil"]\n',
    "link far above": '["a/b","l","../../evil"]\n',
    "link to a surrogate": '["a","l","\\ud800"]\n',
    "reference with a surrogate": '["a","r","s3://b/\\udfff",null,null,null,null]\n',
    "absolute link": '["a","l","/etc/passwd"]\n',
    "link by way of a link": '["a/b/c","l","../.."]\n["d","l","a/b/c/../../evil"]\n',
    "folder above": '["../evil","d"]\n',
    "reference above": '["../evil","r","file:///etc/passwd",null,null,null,null]\n',
    "unknown kind": f'["a","s","{D}",4]\n',
    "short digest": f'["a","f","{D[:-1]}",4]\n',
    "loud digest": f'["a","f","{D.upper()}",4]\n',
    "negative size": f'["a","f","{D}",-4]\n',
    "size as text": f'["a","f","{D}","4"]\n',
    "path as number": f'[7,"f","{D}",4]\n',
    "no list": '{"a":1}\n',
    "too many fields": f'["a","f","{D}",4,5]\n',
    "no JSON": "evil\n",
    "cut": f'["a","f","{D}",4]',
    "levels": "[" * 100_000 + "\n",
}


def log_by_hand(tmp_path: Path, manifest: bytes, content: bytes = b"evil") -> None:
    """Commit a version with a manifest that lineart would not write."""
    store = Store.create(
        str(tmp_path / "store"),
        cache=tmp_path / "cache",
        entity="team",
        created="2026-01-02T03:04:05.000006Z",
    )
    packs = builders.put_bytes(store, tmp_path / "in", content)
    with store.snapshot() as snapshot:
        digest = snapshot.add_metadata(manifest)
        meta = snapshot.finish()
    version = {
        "op": "version.create",
        "collection": "data",
        "version": 0,
        "digest": digest.hex(),
        "size_bytes": 4,
        "file_count": 1,
        "reference_count": 0,
        "references": [],
        "metadata": {},
        "description": "",
        "tags": [],
        "run": None,
        "packs": packs.packs,
        "meta_packs": meta.meta_packs,
        "ttl_s": None,
    }
    ops = [
        {"op": "collection.create", "collection": "data", "type": "dataset", "description": ""},
        version,
        {"op": "alias.move", "collection": "data", "alias": "latest", "from": None, "to": 0},
    ]
    Project(store, PROJECT).commit(lambda state: ops)


def outside_the_cache(folder: Path) -> set[str]:
    """The names of everything that is not the machine's own."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return {name for name in found if not name.startswith(("cache", "home"))}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_manifest_is_downloaded(tmp_path: Path, name: str) -> None:
    log_by_hand(tmp_path, HOSTILE[name].encode())
    before = outside_the_cache(tmp_path)
    artifact = Api().artifact(f"{PROJECT}/data:latest")
    for call in (
        lambda: artifact.download(tmp_path / "out" / "here"),
        lambda: artifact.checkout(tmp_path / "out" / "here"),
        artifact.files,
    ):
        with pytest.raises(IntegrityError) as caught:
            call()
        builders.one_line(caught.value, "manifest")
    assert outside_the_cache(tmp_path) - before <= {"out", "out/here"}
    assert not Path("/tmp/evil").exists()


def test_harmless_manifest_by_hand_is_refused(tmp_path: Path) -> None:
    """So that the test above does not pass for another reason."""
    log_by_hand(tmp_path, f'["a","f","{D}",4]\n["b","l","a"]\n["c","d"]\n'.encode())
    Api().artifact(f"{PROJECT}/data:latest").download(tmp_path / "out")
    assert builders.files_below(tmp_path / "out") == {"a": b"evil", "b": "a", "c": None}


def test_download_writes_through_a_link_that_lies_in_its_way(tmp_path: Path) -> None:
    """The link may come from an earlier version, from a hostile one, or from the user."""
    log_by_hand(tmp_path, f'["a/evil","f","{D}",4]\n'.encode())
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError) as caught:
        Api().artifact(f"{PROJECT}/data:latest").download(tmp_path / "out")
    builders.one_line(caught.value, str(tmp_path / "out"), "'a'", "link")
    assert list((tmp_path / "outside").iterdir()) == []


def test_long_link_name_cannot_be_made(tmp_path: Path) -> None:
    name = "x" * 255
    log_by_hand(tmp_path, f'["a","f","{D}",4]\n["{name}","l","a"]\n'.encode())
    Api().artifact(f"{PROJECT}/data:latest").download(tmp_path / "out")
    assert builders.files_below(tmp_path / "out") == {"a": b"evil", name: "a"}


def test_manifest_with_other_sizes_brings_other_bytes(tmp_path: Path) -> None:
    """A size in a manifest is a claim; what counts is the digest."""
    log_by_hand(tmp_path, f'["a","f","{D}",999]\n'.encode())
    artifact = Api().artifact(f"{PROJECT}/data:latest")
    artifact.download(tmp_path / "out")
    assert builders.files_below(tmp_path / "out") == {"a": b"evil"}
    with artifact.open("a") as file:
        assert file.read() == b"evil"


def test_alias_moved_by_somebody_else_is_moved_back(tmp_path: Path) -> None:
    log(FILES)
    log({"b": b"b"})
    workspace = Workspace(Store.open(str(tmp_path / "store"), cache=tmp_path / "cache"), PROJECT)
    name = workspace.parse("data:v0")
    with pytest.raises(ConflictError) as caught:
        workspace.project().commit(
            lambda state: decide_alias(state, name, "latest", expect=0, expect_set=True)
        )
    builders.one_line(caught.value, "data:latest", "v1", "v0")
