"""The diff that skips shared chunks says the same as the one that reads everything."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest

from lineart.artifacts.diff import ManifestDiff, diff_manifests
from lineart.artifacts.draft import Draft
from lineart.artifacts.manifest import Entry
from lineart.artifacts.names import ProjectName
from lineart.artifacts.publish import publish
from lineart.artifacts.state import VersionState
from lineart.artifacts.stored_diff import diff_stored
from lineart.artifacts.version import Version
from lineart.storage.backend import Buffer
from lineart.storage.codec import Codec
from lineart.storage.digest import digest_of, parse_hex
from lineart.storage.locations import Location
from lineart.storage.store import Store

ENTRIES = 6000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(str(tmp_path / "store"), cache=tmp_path / "cache", entity="e", created="now")


def version_of(store: Store, entries: dict[str, Entry]) -> Version:
    """A stored manifest with references, which need no bytes."""
    _, content = publish(store, Draft(entries.values()))
    fields = {f.name for f in dataclasses.fields(VersionState)} & {
        f.name for f in dataclasses.fields(content)
    }
    values = {name: getattr(content, name) for name in fields}
    state = VersionState(
        number=0,
        metadata={},
        description="",
        tags=(),
        run=None,
        created_at="2026-01-01T00:00:00.000000Z",
        **values,
    )
    return Version(store, ProjectName("e", "p"), "c", "dataset", state)


def reference(path: str, salt: int) -> Entry:
    return Entry(path, "reference", None, salt, f"memory://{digest_of(f'{path}{salt}'.encode()).hex()}")


def entries() -> dict[str, Entry]:
    return {path: reference(path, 1) for path in (f"d{n % 37:02}/{n:05}" for n in range(ENTRIES))}


def as_set(diff: ManifestDiff) -> tuple[set[tuple[str, Entry | None, Entry | None]], int]:
    return {(c.path, c.before, c.after) for c in diff.changes}, diff.unchanged


@pytest.mark.parametrize("seed", range(12))
def test_selective_diff_equals_full_diff_after_random_edits(store: Store, seed: int) -> None:
    generator = random.Random(seed)
    before = entries()
    after = dict(before)
    for path in generator.sample(sorted(before), generator.choice([0, 1, 3, 20])):
        del after[path]
    for path in generator.sample(sorted(after), generator.choice([1, 2, 10])):
        after[path] = reference(path, 2)
    for number in range(generator.choice([0, 1, 400])):
        path = f"d{generator.randrange(37):02}/new-{number}"
        after[path] = reference(path, 3)
    for edge in ("a-first", "z-last"):
        if generator.random() < 0.5:
            after[edge] = reference(edge, 4)
    left, right = version_of(store, before), version_of(store, after)
    at = store.objects.locate([parse_hex(left.state.digest)])[parse_hex(left.state.digest)]
    assert at.codec == Codec.CHUNKS  # else nothing is shared and the test shows nothing
    assert as_set(diff_stored(left, right)) == as_set(diff_manifests(left.manifest, right.manifest))
    assert as_set(diff_stored(right, left)) == as_set(diff_manifests(right.manifest, left.manifest))


def test_few_edits_do_not_read_the_whole_manifest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = entries()
    after = {**before, "d10/00010": reference("d10/00010", 2)}
    left, right = version_of(store, before), version_of(store, after)
    whole = sum(len(version_of(store, made).manifest.encode()) for made in (before, after))
    read = 0
    real = store.objects.open_payload

    def counting(digest: bytes, location: Location, payload: Buffer) -> Buffer:
        nonlocal read
        data = real(digest, location, payload)
        read += len(data)
        return data

    monkeypatch.setattr(store.objects, "open_payload", counting)
    assert [change.path for change in diff_stored(left, right).changes] == ["d10/00010"]
    assert 0 < read < whole / 2


def test_versions_with_one_digest_do_not_differ(store: Store) -> None:
    left = version_of(store, entries())
    assert as_set(diff_stored(left, left)) == (set(), ENTRIES)
