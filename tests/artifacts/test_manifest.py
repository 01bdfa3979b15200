from __future__ import annotations

import io
import json
import random
import unicodedata
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import scenario
from lineart.artifacts import Entry, Manifest
from lineart.artifacts.manifest import find_entry
from lineart.artifacts.paths import check_path, check_together
from lineart.storage.errors import IntegrityError, InvalidPathError, NotFoundError

DIGEST = "3f" * 32
PARTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\\\0"), min_size=1, max_size=8)
HARD_PARTS = st.sampled_from(
    ["a\nb", 'q"', "🦆", "é", "\u2028", "\x7f", "\x01", "\ufffd", "\ue000", "]", ","]
)
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
SIZES = st.integers(0, 2**63)


@st.composite
def paths(draw: st.DrawFn) -> str:
    path = "/".join(draw(st.lists(PARTS | HARD_PARTS, min_size=1, max_size=3)))
    try:
        return check_path(path)
    except InvalidPathError:
        return "fallback"


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    path, kind = draw(paths()), draw(st.sampled_from(["f", "x", "l", "d", "r"]))
    if kind == "l":
        return Entry(path, "symlink", target=draw(PARTS.filter(lambda part: part != "..")))
    if kind == "d":
        return Entry(path, "directory")
    if kind == "r":
        rest = [draw(st.none() | TEXT) for _ in range(3)]
        return Entry(path, "reference", None, draw(st.none() | SIZES), draw(TEXT), *rest)
    return Entry(path, "file" if kind == "f" else "executable", scenario.digest(draw(TEXT)), draw(SIZES))


def standing_together(found: Iterable[Entry]) -> list[Entry]:
    kept: dict[str, Entry] = {}
    for entry in found:
        try:
            check_together([*kept, entry.path])
        except InvalidPathError:
            continue
        kept.setdefault(entry.path, entry)
    return list(kept.values())


TOGETHER = st.lists(entries(), max_size=12).map(standing_together)


# The canonical form, against docs/format.md


@pytest.mark.parametrize(
    "entry, line",
    [
        (Entry("a.bin", "file", DIGEST, 5), f'["a.bin","f","{DIGEST}",5]'),
        (Entry("run.sh", "executable", DIGEST, 0), f'["run.sh","x","{DIGEST}",0]'),
        (Entry("d/l", "symlink", target="../x"), '["d/l","l","../x"]'),
        (Entry("empty", "directory"), '["empty","d"]'),
        (
            Entry("r", "reference", None, 7, "s3://b/k", "etag", "vid", "sha256:x="),
            '["r","r","s3://b/k",7,"etag","vid","sha256:x="]',
        ),
        (
            Entry("r", "reference", target="https://h/p?q=1"),
            '["r","r","https://h/p?q=1",null,null,null,null]',
        ),
        (Entry("ü🦆\u2028", "directory"), '["ü🦆\u2028","d"]'),
        (Entry('new\nline "q" \t\x01', "directory"), '["new\\nline \\"q\\" \\t\\u0001","d"]'),
    ],
)
def test_line_is_the_documented_one_byte_by_byte(entry: Entry, line: str) -> None:
    manifest = Manifest.of([entry])
    assert manifest.encode() == f"{line}\n".encode()
    assert Manifest.decode(manifest.encode()) == manifest


def test_empty_manifest_is_no_bytes() -> None:
    assert Manifest.of([]).encode() == b""
    assert not Manifest.decode(b"")


@given(TOGETHER)
def test_manifest_survives_encoding(found: list[Entry]) -> None:
    manifest = Manifest.of(found)
    again = Manifest.decode(manifest.encode())
    assert dict(again) == {entry.path: entry for entry in found}
    assert list(again) == list(manifest)


@given(TOGETHER)
def test_every_line_is_what_a_json_library_writes(found: list[Entry]) -> None:
    data = Manifest.of(found).encode()
    for line in data.split(b"\n")[:-1]:
        row = json.loads(line)
        assert line == json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


@given(TOGETHER, st.randoms(use_true_random=False))
def test_order_of_adding_does_not_show(found: list[Entry], chance: random.Random) -> None:
    shuffled = [*found]
    chance.shuffle(shuffled)
    assert Manifest.of(shuffled).encode() == Manifest.of(found).encode()


@given(TOGETHER)
def test_lines_are_sorted_by_the_utf8_bytes_of_the_path(found: list[Entry]) -> None:
    keys = [path.encode() for path in Manifest.of(found)]
    assert keys == sorted(keys)


def test_order_is_not_that_of_utf16_nor_of_folders() -> None:
    # U+FF5E sorts behind U+1F986 in UTF-16, whose surrogates begin with D8; "a-b" stands between "a/…" only by folder.
    order = ["A", "a-b", "a/c", "a0", "é", "～", "🦆"]
    assert list(Manifest.of(Entry(path, "directory") for path in reversed(order))) == order


# What a writer refuses


def test_path_that_stands_twice_is_refused_by_name() -> None:
    with pytest.raises(InvalidPathError, match="'b' stands twice"):
        Manifest.of([Entry(path, "directory") for path in ("a", "b", "c", "b")])


def test_path_below_a_file_is_refused() -> None:
    with pytest.raises(InvalidPathError, match="'a' and 'a/b'"):
        Manifest.of([Entry("a", "file", DIGEST, 1), Entry("a/b", "file", DIGEST, 1)])


def test_link_that_goes_back_behind_another_link_is_refused() -> None:
    with pytest.raises(InvalidPathError, match="behind the link"):
        Manifest.of([Entry("d/up", "symlink", target=".."), Entry("x", "symlink", target="d/up/..")])


# What a reader refuses


NFD = unicodedata.normalize("NFD", "é")
HOSTILE = {
    "out of order": '["b","d"]\n["a","d"]\n',
    "order of UTF-16": '["🦆","d"]\n["～","d"]\n',
    "twice": '["a","d"]\n["a","d"]\n',
    "parent folder": '["../a","d"]\n',
    "absolute": '["/a","d"]\n',
    "drive": '["C:/a","d"]\n',
    "NUL": '["a\\u0000","d"]\n',
    "lone surrogate": '["\\ud800","d"]\n',
    "empty path": '["","d"]\n',
    "through a file": f'["a","f","{DIGEST}",1]\n["a/b","f","{DIGEST}",1]\n',
    "through a link": f'["a","l","b"]\n["a/b","f","{DIGEST}",1]\n',
    "two Unicode forms": f'["{NFD}","d"]\n["é","d"]\n',
    "link outside": '["a","l","../b"]\n',
    "absolute link": '["a","l","/b"]\n',
    "link without target": '["a","l",null]\n',
    "links outside together": '["d/up","l",".."]\n["x","l","d/up/.."]\n',
    "unknown kind": '["a","z"]\n',
    "kind left out": '["a"]\n',
    "no array": '{"a":"d"}\n',
    "a number": "7\n",
    "nothing": "null\n",
    "one field more": '["a","d",1]\n',
    "digest of capitals": f'["a","f","{"3F" * 32}",1]\n',
    "digest too short": f'["a","f","{DIGEST[1:]}",1]\n',
    "digest no text": '["a","f",7,1]\n',
    "negative size": f'["a","f","{DIGEST}",-1]\n',
    "fractional size": f'["a","f","{DIGEST}",1.0]\n',
    "size true": f'["a","f","{DIGEST}",true]\n',
    "size null": f'["a","f","{DIGEST}",null]\n',
    "reference with a list": '["a","r","s3://b",1,[],null,null]\n',
    "reference with negative size": '["a","r","s3://b",-1,null,null,null]\n',
    "reference without URI": '["a","r",null,1,null,null,null]\n',
    "not JSON": "[[\n",
    "not UTF-8": b'["\xff","d"]\n',
    "cut": '["a","d"]',
    "empty line": '["a","d"]\n\n["b","d"]\n',
    "spaces": '["a", "d"]\n',
    "escaped without need": '["\\u0061","d"]\n',
    "two entries on a line": '["a","d"],["b","d"]\n',
    "an entry on two lines": '["a"\n"d"]\n',
    "size as 1e0": f'["a","f","{DIGEST}",1e0]\n',
    "size with zeros": f'["a","f","{DIGEST}",-0]\n',
    "deep": "[" * 100_000 + "\n",
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_reader_refuses(fault: str) -> None:
    data = HOSTILE[fault]
    with pytest.raises(IntegrityError) as caught:
        Manifest.decode(data if isinstance(data, bytes) else data.encode())
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@given(TOGETHER.filter(bool), st.data())
@settings(max_examples=60)
def test_reader_refuses_or_notices_a_flipped_byte(found: list[Entry], data: st.DataObject) -> None:
    stored = bytearray(Manifest.of(found).encode())
    at = data.draw(st.integers(0, len(stored) - 1))
    stored[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = Manifest.decode(stored)
    except IntegrityError:
        return
    assert read.encode() == stored  # another manifest, whose digest is another one


@given(st.binary(max_size=60))
@example(b"[]\n")
@example(b'""\n')
def test_reader_answers_any_bytes_with_a_manifest_or_an_error_of_ours(data: bytes) -> None:
    try:
        assert Manifest.decode(data).encode() == data
    except IntegrityError:
        pass  # the other allowed answer


# Looking one entry up


def look_up(data: bytes, path: str) -> Entry | None:
    return find_entry(io.BufferedReader(io.BytesIO(data)), path)  # type: ignore[arg-type]


@given(TOGETHER, st.lists(paths() | TEXT, max_size=10))
def test_lookup_equals_the_dictionary(found: list[Entry], absent: list[str]) -> None:
    manifest = Manifest.of(found)
    data = manifest.encode()
    for path in [*manifest, *absent, "", "\0", "\U0010ffff"]:
        assert look_up(data, path) == manifest.get(path), path


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_lookup_finds_each_of_many_and_nothing_beside(count: int) -> None:
    chance = random.Random(count)
    lengths = [chance.choice([1, 1, 2, 40, 3000]) for _ in range(count)]
    many = [f"{n:04}/{'p' * min(length, 200)}" for n, length in enumerate(lengths)]
    manifest = Manifest.of(
        Entry(path, "reference", target="s3://" + "u" * length)
        for path, length in zip(many, lengths, strict=True)
    )
    data = manifest.encode()
    for path in many:
        assert look_up(data, path) == manifest[path]
        for near in (path[:-1], path + "!", path + "\0", path[:4], "~" + path):
            assert look_up(data, near) is None
    for path in ("", "0", "~", "\ud800", "\U0010ffff"):
        assert look_up(data, path) is None


@pytest.mark.parametrize("damage", ["[[", '["b","z"]', '["../b","d"]', '{"b":1}', "[" * 100_000])
def test_lookup_that_meets_a_damaged_line_says_so(damage: str) -> None:
    with pytest.raises(IntegrityError):
        look_up(f'["a","d"]\n{damage}\n["c","d"]\n'.encode(), "b")


# Views


def test_folder_is_not_a_prefix_of_letters() -> None:
    manifest = Manifest.of(Entry(path, "directory") for path in ("a/b/c", "a/bc", "a/b-", "ab"))
    assert [entry.path for entry in manifest.under("a/b")] == ["a/b/c"]
    assert [entry.path for entry in manifest.under("a/b/")] == ["a/b/c"]
    assert [entry.path for entry in manifest.under("a/bc")] == ["a/bc"]
    assert len(manifest.under(None)) == len(manifest.under("")) == 4


def test_folder_that_is_not_there_is_refused_with_what_is_near() -> None:
    manifest = Manifest.of([Entry("train", "directory")])
    with pytest.raises(NotFoundError, match=r"'trian'.*did you mean 'train'"):
        manifest.under("trian")


def test_size_counts_references_too() -> None:
    sized = [Entry("a", "file", DIGEST, 5), Entry("r", "reference", None, 7, "s3://b/k")]
    assert Manifest.of([*sized, Entry("u", "reference", target="s3://b/u")]).size_bytes == 12
