"""A store in a folder that two people share: what one of them makes, the other can use, whatever their umask is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

import builders
from lineart.storage.local import LocalBackend
from lineart.tracking import Api, init

GROUP, ADA, BEN, EVE = 54_321, 54_322, 54_323, 54_324


def modes(folder: Path) -> dict[str, tuple[bool, str]]:
    return {
        path.relative_to(folder).as_posix(): (path.is_dir(), stat.filemode(path.stat().st_mode))
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("mode, umask", [(0o2770, 0o077), (0o775, 0o022), (0o700, 0o002), (0o1777, 0o077)])
def test_what_is_made_follows_the_umask(tmp_path: Path, mode: int, umask: int) -> None:
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(mode)
    before = os.umask(umask)
    try:
        backend = LocalBackend(root)
        backend.write("a/written", b"1")
        backend.create("b/created", b"1")
        staged = backend.staging() / "x"
        staged.write_bytes(b"1")
        backend.write_file("c/d/moved", staged)
    finally:
        os.umask(before)
    kept = mode & 0o2777
    for path in root.rglob("*"):
        expected = kept if path.is_dir() else kept & 0o666
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_new_store_is_opened_to_more_than_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        LocalBackend(tmp_path / "store").write("a/b", b"1")
    finally:
        os.umask(before)
    found = {
        path: stat.S_IMODE(path.stat().st_mode)
        for path in [tmp_path / "store", *(tmp_path / "store").rglob("*")]
    }
    assert set(found.values()) == {0o700, 0o600}


def use_as(folder: str, user: int, group: int, umask: int, number: int) -> list[str]:
    """Log, read and end a run as a user of the machine; what could be read."""
    root = Path(folder)
    home = root / f"home-{user}"
    os.environ.update({**builders.environment(root), "HOME": str(home), "LINEART_CACHE": str(home / "cache")})
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    os.umask(umask)
    os.chdir(home)
    with init(project="team/digits", id=f"run-{number}") as run:
        run.log({"loss": 1.0})
        (home / "data.txt").write_text(f"of {user}")
        run.log_artifact(home / "data.txt", name="data", type="dataset", aliases=[f"by-{number}"])
        running = [found.id for found in Api().runs("team/digits")]
        assert f"run-{number}" in running
    api = Api()
    texts = []
    for version in api.artifacts("dataset", "team/digits/data"):
        version.download(home / version.version)
        texts.append((home / version.version / "data.txt").read_text())
    for found in api.runs("team/digits"):
        assert [row["loss"] for row in found.scan_history()] == [1.0]
    return sorted(texts)


@builders.as_root
@pytest.mark.parametrize("umask", [0o002, 0o077])
def test_store_of_one_user_is_closed_to_the_group(umask: int) -> None:
    with builders.public_folder() as folder:
        store = folder / "store"
        store.mkdir()
        os.chown(store, ADA, GROUP)
        store.chmod(0o2770)
        for user in (ADA, BEN, EVE):
            (folder / f"home-{user}").mkdir()
            os.chown(folder / f"home-{user}", user, user)
        assert builders.in_child(use_as, str(folder), ADA, GROUP, umask, 1) == [f"of {ADA}"]
        assert builders.in_child(use_as, str(folder), BEN, GROUP, umask, 2) == [f"of {ADA}", f"of {BEN}"]
        both = [f"of {ADA}", f"of {ADA}", f"of {BEN}"]
        assert builders.in_child(use_as, str(folder), ADA, GROUP, umask, 3)[:1] == both[:1]
        for path in store.rglob("*"):
            found = path.stat()
            assert found.st_gid == GROUP, path
            assert stat.S_IMODE(found.st_mode) == (0o2770 if path.is_dir() else 0o660), path
        with pytest.raises(AssertionError, match=r"Permission denied|refuses"):
            builders.in_child(use_as, str(folder), EVE, EVE, umask, 4)
