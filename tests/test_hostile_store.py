"""A store that an attacker has made cannot write elsewhere, fill the memory, or run code; each reader says one line.

Digests and seals are right wherever an attacker can make them right. `test_bad_store.py` has hostile manifests.
"""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import builders
import lineart
from builders import KIB, MIB
from lineart.artifacts.collecting import Collector
from lineart.artifacts.names import ProjectName
from lineart.artifacts.project import Project
from lineart.artifacts.verification import Depth
from lineart.storage.codec import Codec, encode_chunk_list
from lineart.storage.digest import digest_of
from lineart.storage.errors import Error
from lineart.storage.gc import FORMAT as PLAN_FORMAT
from lineart.storage.gc import Plan
from lineart.storage.log import BackendLog
from lineart.storage.pack import HEADER, PackedObject, encode_trailer
from lineart.storage.sealed import seal
from lineart.storage.store import Store
from lineart.storage.transaction import Op, Transaction, canonical_json
from lineart.tracking import Api, Workspace
from lineart.tracking.store_verification import Scope, verify_store
from test_style import code_files

PROJECT = ProjectName("default", "digits")
TIME = "2026-01-02T03:04:05.000006Z"
GIB = 1024 * MIB
PLAN = "20260102T030405-00000000"
RUN = "projects/default/digits/runs/long"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with a version, a run with a long history, a checkpoint of the catalog."""
    monkeypatch.setenv("LINEART_PROJECT", "digits")
    with lineart.init(id="long") as run:
        data = lineart.Artifact("data", "dataset")
        with data.new_file("a.txt") as file:
            file.write("a")
        run.log_artifact(data)
        for step in range(9000):
            run.log({"loss": 1 / (step + 1)})
    return tmp_path / "store"


def put(store: Path, key: str, data: bytes) -> None:
    (store / key).parent.mkdir(parents=True, exist_ok=True)
    (store / key).write_bytes(data)


def append(store: Path, *ops: Op, prefix: str = "projects/default/digits/") -> None:
    """A transaction as a client would write it, with ops that none would."""
    log = BackendLog(Store.open(str(store), cache=store.parent / "attacker").backend, prefix)
    *_, last = log.read_after(lineart.storage.Position())  # type: ignore[attr-defined]
    position = last.position
    log.append(Transaction(position.seq + 1, "e" * 32, TIME, {}, position.digest, ops))


def pack(store: Path, rows: list[tuple[PackedObject, bytes]]) -> str:
    """A pack with payloads of the attacker's choice; its name."""
    data = HEADER + b"".join(payload for _, payload in rows) + encode_trailer([row for row, _ in rows])
    name = digest_of(data).hex()
    put(store, f"packs/{name[:2]}/{name}.pack", data)
    return name


def version(digest: bytes, *packs: str) -> list[dict[str, Any]]:
    made = {
        "op": "version.create", "collection": "evil", "version": 0, "digest": digest.hex(), "size_bytes": 4,
        "file_count": 1, "reference_count": 0, "references": [], "metadata": {}, "description": "", "tags": [],
        "run": None, "packs": [], "meta_packs": list(packs), "ttl_s": None,
    }  # fmt: skip
    return [{"op": "collection.create", "collection": "evil", "type": "x", "description": ""}, made]


# Memory


def bomb(size: int, *, says: int | None = None) -> bytes:
    """A zstd frame that is 4 bytes long for each 128 KiB of zeros; `says` is the length that it declares."""
    block = 128 * KIB
    count, rest = divmod(size, block)
    sizes = [*[block] * count, *([rest] if rest else [])]
    blocks = b"".join(
        (int(at == len(sizes) - 1) | 1 << 1 | length << 3).to_bytes(3, "little") + b" "
        for at, length in enumerate(sizes)
    )
    head = bytes([0b11000000, 7 << 3]) + (size if says is None else says).to_bytes(8, "little")
    return b"\x28\xb5\x2f\xfd" + head + blocks


def sealed_bomb(size: int, *, says: int | None = None) -> bytes:
    frame = bomb(size, says=says)
    return frame + b"\x5b\x2a\x4d\x18\x20\x00\x00\x00" + digest_of(frame)


def long_chunk_list(store: Path) -> None:
    """A manifest of 64 GiB, which is one piece of zeros again and again."""
    piece = bytes(16 * MIB)
    frame = bomb(16 * MIB).replace(b" ", b"\0")
    pieces = [(digest_of(piece), len(piece))] * 4096
    payload = encode_chunk_list(pieces)
    digest = b"\x77" * 32
    first = PackedObject(digest_of(piece), len(piece), 8, len(frame), Codec.ZSTD)
    second = PackedObject(digest, 64 * GIB, 8 + len(frame), len(payload), Codec.CHUNKS)
    append(store, *version(digest, pack(store, [(first, frame), (second, payload)])))


def lying_object(store: Path) -> None:
    """A manifest that says 1 KiB in the index and in its frame, and expands to 64 GiB."""
    frame = bomb(64 * GIB, says=1024)
    row = PackedObject(b"\x78" * 32, 1024, 8, len(frame), Codec.ZSTD)
    append(store, *version(row.digest, pack(store, [(row, frame)])))


def line_without_end(store: Path) -> None:
    """A manifest of one line of 60 MiB."""
    frame = bomb(60 * MIB)
    digest = digest_of(b" " * (60 * MIB))
    row = PackedObject(digest, 60 * MIB, 8, len(frame), Codec.ZSTD)
    append(store, *version(digest, pack(store, [(row, frame)])))


def trailer_of_a_gigabyte(store: Path) -> None:
    data = bytes(1000) + b"LNARTIX\x01" + (1 << 40).to_bytes(8, "little")
    name = digest_of(data).hex()
    put(store, f"packs/{name[:2]}/{name}.pack", data)
    append(store, *version(b"\x79" * 32, name))


def hole(store: Path, key: str) -> None:
    """A value of 64 GiB, which costs an attacker with a shared folder nothing."""
    put(store, key, b'{"format":1,')
    os.truncate(store / key, 64 * GIB)


def next_entry(store: Path) -> str:
    entries = sorted((store / "projects/default/digits/log/000000").iterdir())
    return f"projects/default/digits/log/000000/{len(entries):012}.json"


def deep_entry(store: Path) -> None:
    put(store, next_entry(store), b'{"format":1,"ops":' + b"[" * (30 * MIB))


def checkpoint(frame: bytes) -> Callable[[Path], None]:
    return lambda store: put(store, "projects/default/digits/checkpoints/000000000001/state.json.zst", frame)


def segment(frame: bytes) -> Callable[[Path], None]:
    def write(store: Path) -> None:
        put(store, f"{RUN}/segments/w/{0:012}-{64 * GIB:012}.jsonl.zst", frame)

    return write


def resealed(key: str, **fields: Any) -> Callable[[Path], None]:
    """A sealed value, with other fields and the right seal."""

    def write(store: Path) -> None:
        found = json.loads((store / key).read_bytes())
        del found["verify"]
        put(store, key, seal(canonical_json({**found, **fields})))

    return write


def part(**fields: Any) -> Callable[[Path], None]:
    """The marker of a part, with other fields."""
    return resealed(f"{RUN}/history/000000.json", **fields)


def condemn(data: bytes | None, kind: str = "") -> Callable[[Path], None]:
    """A plan that the logs know; for None it is a hole of 64 GiB."""

    def write(store: Path) -> None:
        key = f"gc/plans/{PLAN}{kind}.json"
        if data is None:
            hole(store, key)
        else:
            put(store, key, data)
        if kind:
            put(store, f"gc/plans/{PLAN}.json", Plan(PLAN, TIME, (), ()).encode())
        append(store, {"op": "gc.condemn", "plan": PLAN})
        append(store, {"op": "gc.condemn", "plan": PLAN}, prefix="store/")

    return write


BOMBS: Mapping[str, Callable[[Path], None]] = {
    "chunk list": long_chunk_list,
    "lying object": lying_object,
    "manifest without line ends": line_without_end,
    "trailer": trailer_of_a_gigabyte,
    "settings": lambda store: hole(store, "lineart.json"),
    "entry": lambda store: hole(store, next_entry(store)),
    "deep entry": deep_entry,
    "checkpoint": checkpoint(sealed_bomb(64 * GIB)),
    "checkpoint that lies": checkpoint(sealed_bomb(64 * GIB, says=1000)),
    "checkpoint without seal": checkpoint(bomb(64 * GIB)),
    "checkpoint that is a hole": lambda store: hole(
        store, "projects/default/digits/checkpoints/000000000001/state.json.zst"
    ),
    "catalog marker": lambda store: hole(
        store, "projects/default/digits/checkpoints/000000000001/catalog.json"
    ),
    "log segment": lambda store: put(
        store, "projects/default/digits/log/000000.jsonl.zst", sealed_bomb(64 * GIB)
    ),
    "segment of a journal": segment(sealed_bomb(64 * GIB)),
    "segment that lies": segment(sealed_bomb(64 * GIB, says=1000)),
    "segment that is a hole": lambda store: hole(store, f"{RUN}/segments/w/{0:012}-{64 * GIB:012}.jsonl.zst"),
    "claim": lambda store: hole(store, f"{RUN}/run.json"),
    "part": lambda store: hole(store, f"{RUN}/history/000000.json"),
    "plan": condemn(None),
    "final list": condemn(None, ".final"),
    "deep plan": condemn(b"[" * (30 * MIB)),
}


def look_everywhere(url: str) -> list[str]:
    """Everything that reads; what was refused, in one line each."""
    said: list[str] = []
    cache = Path(url).parent / f"cache-{os.getpid()}"

    def opened() -> Store:
        return Store.open(url, cache=cache)

    def collect() -> None:
        Collector(opened()).collect(grace_s=0)

    def run() -> Any:
        return Api(store=url).run("default/digits/long")

    target = cache / "out"
    for call in (
        lambda: Project(opened(), PROJECT).state(),
        lambda: Project(opened(), PROJECT).check_plans(),
        lambda: Api(store=url).artifact("default/digits/evil:v0").download(target),
        lambda: Api(store=url).artifact("default/digits/data:v0").download(target),
        lambda: Api(store=url).sql("select count(*) from runs").fetchall(),
        lambda: list(run().scan_history(keys=["loss"])),
        lambda: run().files(),
        lambda: verify_store(opened(), Scope(everything=True), Depth.BYTES),
        collect,
    ):
        try:
            call()
        except Error as error:
            said.append(builders.one_line(error))
    return said


def peak_of_looking(url: str, honest: str) -> tuple[int, list[str]]:
    """How much more memory looking at a hostile store takes than looking at an honest one."""
    os.environ["LINEART_CACHE"] = str(Path(url).parent / "cache-of-child")
    look_everywhere(honest)
    before = builders.peak_bytes()
    said = look_everywhere(url)
    return builders.peak_bytes() - before, said


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bomb_fills_the_memory(store: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "honest").mkdir()
    builders.local_store(tmp_path / "honest").close()
    honest = tmp_path / "honest/store"
    BOMBS[name](store)
    grown_bytes, said = builders.in_child(peak_of_looking, str(store), str(honest))
    assert grown_bytes < 600 * MIB, said
    assert said or "checkpoint" in name or name in ("catalog marker", "log segment"), "nobody has noticed"


# Other people's files


def final(*keys: str) -> bytes:
    value = {"format": PLAN_FORMAT, "plan": PLAN, "packs": [], "keys": list(keys), "cancelled": None}
    return seal(canonical_json(value))


FORGERIES: Mapping[str, Callable[[Path], None]] = {
    "collection": lambda store: append(
        store, {"op": "collection.create", "collection": "../../evil", "type": "x", "description": ""}
    ),
    "alias": lambda store: append(
        store, {"op": "alias.move", "collection": "data", "alias": "../evil", "from": None, "to": 0}
    ),
    "digest": lambda store: append(store, *version(b"", "../../../evil")),
    "run": lambda store: append(store, {"op": "run.start", "run": "../../evil", "writer": "w", "tags": []}),
    "files of a run": lambda store: append(
        store,
        {
            "op": "run.finish",
            "run": "long",
            "writer": "../evil",
            "state": "finished",
            "files": {"digest": "../../evil", "packs": ["../evil"], "meta_packs": ["../evil"]},
        },
    ),
    "plan": lambda store: append(store, {"op": "gc.condemn", "plan": "../../evil"}),
    "plans": lambda store: append(store, {"op": "project.create", "project": "../..", "plans": ["../evil"]}),
    "project": lambda store: append(
        store, {"op": "project.create", "project": "../../../evil"}, prefix="store/"
    ),
    "successor": lambda store: append(
        store, {"op": "packs.replace", "packs": {"../evil": ["../../evil"]}}, prefix="store/"
    ),
    "final list above": condemn(final("../../victim"), ".final"),
    "final list of the log": condemn(final("projects/default/digits/log/000000/000000000000.json"), ".final"),
    "final list by way of a run": condemn(final("projects/a/b/runs/c/../../../../../victim"), ".final"),
    "final list of the settings": condemn(final("lineart.json"), ".final"),
    "Parquet above": part(parquet="../../victim", digests={}),
    "Parquet by way of a run": part(parquet=f"{RUN}/history/../../../../../../victim", digests={}),
    "Parquet elsewhere": part(parquet="/etc/passwd", rollup="file:///etc/passwd", digests={}),
    "covers": part(covers={"../../evil": -5}),
    "entity": resealed("lineart.json", entity="../.."),
    "store id": resealed("lineart.json", store="../../evil"),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgery_reaches_beyond_the_store(store: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    FORGERIES[name](store)
    before = builders.files_below(store)
    outside = {path.name for path in tmp_path.iterdir()}
    said = look_everywhere(str(store))
    assert said, "nobody has noticed"
    made = {path.name for path in tmp_path.iterdir()} - outside
    assert made <= {f"cache-{os.getpid()}", "attacker", "cache", "home"}
    assert [path for path in tmp_path.rglob("*evil*") if "digits" not in str(path)] == []
    assert (tmp_path / "victim").read_bytes() == b"mine"
    kept = builders.files_below(store)
    assert {key for key in before if key.startswith(("projects", "packs", "lineart"))} <= kept.keys()


# Code

_RUNS_CODE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "joblib", "code", "codeop"}
_CALLS = {"eval", "exec", "compile", "__import__"}


def test_package_can_run_what_it_reads() -> None:
    """No module that could be given data of a store unpickles or evaluates."""
    found = []
    for path in code_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [(node.module or "").partition(".")[0]]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names = [node.func.id] if node.func.id in _CALLS else []
            elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                names = (
                    [] if isinstance(node.value, ast.Constant) and node.value.value is False else ["pickle"]
                )
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                spelled = f"{node.value.id}.{node.attr}"
                names = ["pickle"] if spelled in ("yaml.load", "yaml.unsafe_load", "torch.load") else []
            found += [
                f"{path.name}:{getattr(node, 'lineno', 0)} {name}"
                for name in names
                if name in _RUNS_CODE | _CALLS
            ]
    assert found == []


def test_workspace_of_a_hostile_store_runs_its_files(store: Path) -> None:
    """What is downloaded is never made executable by its name alone, nor looked at as settings."""
    (store / "lineart.toml").write_text('project = "evil"\nentity = "evil"\n')
    workspace = Workspace(Store.open(str(store), cache=store.parent / "cache"), PROJECT)
    assert workspace.store.settings.entity == "default"
    Api().artifact("default/digits/data:v0").download(store.parent / "out")
    assert not os.access(store.parent / "out/a.txt", os.X_OK)
