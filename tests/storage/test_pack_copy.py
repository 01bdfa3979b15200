"""Packs from one backend to another: verified, once each, and never half."""

from __future__ import annotations

from pathlib import Path

import pytest

import builders
from lineart.storage.counting import CountingBackend
from lineart.storage.digest import digest_of
from lineart.storage.errors import CommError, IntegrityError, NotFoundError
from lineart.storage.faults import Fault, FaultyBackend, ScriptedFaults
from lineart.storage.local import LocalBackend
from lineart.storage.memory import MemoryBackend
from lineart.storage.pack import pack_key
from lineart.storage.pack_copy import PackCopier, copy_value


def made(backend: MemoryBackend | LocalBackend, *contents: bytes) -> dict[bytes, str]:
    """Packs of these bytes: here only their name counts."""
    for content in contents:
        backend.write(pack_key(digest_of(content)), content)
    return {digest_of(content): f"of {content[:3]!r}" for content in contents}


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_packs_arrive_byte_for_byte_and_are_counted(kind: str, tmp_path: Path) -> None:
    source = MemoryBackend() if kind == "memory" else LocalBackend(tmp_path / "source")
    target = CountingBackend(LocalBackend(tmp_path / "target"))
    contents = [builders.noise(size, size) for size in (0, 1, 5_000_000, 20_000_000)]
    packs = made(source, *contents)
    told: list[int] = []
    copier = PackCopier(source, target, told.append)
    copier.copy(packs)
    assert [target.read(pack_key(pack)) for pack in packs] == contents
    assert (copier.copied_packs, copier.copied_bytes) == (4, 25_000_001)
    assert sum(told) == 25_000_001
    copier.copy(packs)
    again = PackCopier(source, target)
    again.copy(packs)
    assert (again.copied_packs, again.present_packs, again.present_bytes) == (0, 4, 25_000_001)
    assert target.calls["write_file"] == 4


def test_bytes_that_are_not_the_packs_never_arrive(tmp_path: Path) -> None:
    source, target = MemoryBackend(), LocalBackend(tmp_path / "target")
    (pack,) = packs = made(source, b"right")
    source.write(pack_key(pack), b"wrong")
    with pytest.raises(IntegrityError) as caught:
        PackCopier(source, target).copy(packs)
    builders.one_line(
        caught.value, pack.hex()[:12], digest_of(b"wrong").hex()[:12], "art verify --all", "of b'rig'"
    )
    assert list(target.list("")) == []
    assert list(target.staging().iterdir()) == []


def test_missing_pack_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        PackCopier(MemoryBackend(), MemoryBackend()).copy({bytes(32): "data:v3"})
    builders.one_line(caught.value, "data:v3: pack 000000000000 is missing", "art verify --all")


@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.TORN, Fault.AFTER])
def test_upload_that_fails_is_made_up_for(fault: Fault, tmp_path: Path) -> None:
    source, target = MemoryBackend(), LocalBackend(tmp_path / "target")
    packs = made(source, *(builders.noise(1000, seed) for seed in range(10)))
    faulty = FaultyBackend(target, ScriptedFaults({"write_file": [None, fault]}))
    with pytest.raises(CommError):
        PackCopier(source, faulty).copy(packs)
    PackCopier(source, faulty).copy(packs)
    for pack in packs:
        assert digest_of(target.read(pack_key(pack))) == pack
    assert [path for path in target.staging().iterdir() if not path.name.startswith("torn~")] == []


def test_value_that_shrinks_while_it_is_read_is_refused(tmp_path: Path) -> None:
    class Shrinking(MemoryBackend):
        def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
            return super().read(key, start, length) if start == 0 else b""

    source, target = Shrinking(), LocalBackend(tmp_path / "target")
    source.write("a", bytes(20_000_000))
    with pytest.raises(IntegrityError, match="8388608 bytes, expected 20000000"):
        copy_value(source, "a", target, "a")
    assert list(target.list("")) == []
