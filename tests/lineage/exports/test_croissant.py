"""Croissant documents, loaded by mlcroissant: it checks them, and reads records by what they say."""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
from pathlib import Path
from typing import Any

import mlcroissant
import pytest

import lineart
import scenario
from lineart.artifacts.manifest import Entry
from lineart.artifacts.references import References
from lineart.lineage.exports import Column, Contents, Table, croissant_dataset, read_contents
from lineart.lineage.exports.contents import look_into
from lineart.lineage.exports.croissant import named_files

from .conftest import PROJECT, extent_of

IMAGES = f"{PROJECT}/images:v0"
# rdflib's own parser calls what rdflib deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")


def document(name: str, contents: Contents | None = None) -> dict[str, Any]:
    extent = extent_of(name, "upstream", 1)
    version = scenario.workspace().version(name)
    if contents is None:
        contents = read_contents(version)
        contents = look_into(contents, version, named_files(contents.entries), References())
    return croissant_dataset(extent, extent.versions[name], contents)


def load(found: dict[str, Any], **files: Path) -> Any:
    """As mlcroissant understands it; it raises for a document that is not valid."""
    return mlcroissant.Dataset(
        jsonld=copy.deepcopy(found), mapping={k: str(v) for k, v in files.items()} or None
    )


def by_name(found: dict[str, Any], key: str) -> dict[str, dict[str, Any]]:
    return {part["name"]: part for part in found.get(key, [])}


def test_dataset_is_valid_and_names_its_files(story: None) -> None:
    found = document(IMAGES)
    metadata = load(found).metadata
    assert (metadata.name, metadata.version, metadata.url) == ("images", "0.0.0", f"art://{IMAGES}")
    assert not metadata.ctx.issues.errors
    files = by_name(found, "distribution")
    assert set(files) == {"labels.csv", "raw.csv", "readme", "rows.jsonl", "images:v0", "train/*.png"}
    assert files["readme"]["sha256"] == hashlib.sha256(b"Read me.").hexdigest()
    assert files["readme"]["contentUrl"] == f"art://{IMAGES}/readme"
    assert files["train/*.png"]["containedIn"] == {"@id": files["images:v0"]["@id"]}
    manifest = scenario.workspace().version(IMAGES).manifest.encode()
    assert files["images:v0"]["sha256"] == hashlib.sha256(manifest).hexdigest()


def test_records_are_read_by_what_it_says(story: None, tmp_path: Path) -> None:
    found = document(IMAGES)
    lineart.Api().artifact(IMAGES).download("here")
    dataset = load(
        found, **{"labels.csv": tmp_path / "here/labels.csv", "rows.jsonl": tmp_path / "here/rows.jsonl"}
    )
    rows = [list(row.values()) for row in dataset.records("labels.csv!rows")]
    assert rows == [[0, b"zero", 0.5], [1, b"one", 0.25]]
    fields = by_name(found, "recordSet")["rows.jsonl"]["field"]
    assert [(f["name"], f["dataType"], f.get("repeated")) for f in fields] == [
        ("a", "sc:Integer", None),
        ("b", "sc:Text", True),
    ]


def test_file_without_a_header_has_no_records(story: None) -> None:
    assert set(by_name(document(IMAGES), "recordSet")) == {"labels.csv", "rows.jsonl"}


def test_inputs_are_what_it_is_based_on(story: None) -> None:
    with lineart.init(project=PROJECT) as run:
        run.use_artifact(IMAGES)
        made = scenario.draft("crops", {"t.csv": "a,b\n1,2\n"})
        run.log_artifact(made)
    found = document(made.qualified_name)
    load(found)
    assert found["isBasedOn"] == [f"art://{IMAGES}"]


def test_awkward_names_are_escaped(story: None, tmp_path: Path) -> None:
    names = ["manifest!", "a b/[x]*.csv", "ü/100%.csv", "#1?.csv", "x.csv.gz"]
    made = lineart.Artifact("odd", "dataset")
    for name in names:
        with made.new_file(name, "wb") as file:
            data = b"key,value\nx,1\ny,2\n"
            file.write(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    made.save()
    found = document(made.qualified_name)
    load(found)
    assert set(by_name(found, "distribution")) == set(names)
    assert set(by_name(found, "recordSet")) == set(names) - {"manifest!"}
    ids = [part["@id"] for part in found["distribution"]]
    assert len(ids) == len(set(ids))


def test_reference_is_named_when_its_checksum_was_recorded(story: None) -> None:
    digest = hashlib.sha256(b"x").digest()
    entries = (
        Entry(
            "a.bin",
            "reference",
            None,
            1,
            "s3://b/a.bin",
            checksum=f"sha256:{base64.b64encode(digest).decode()}",
        ),
        Entry("b.bin", "reference", None, 1, "s3://b/b.bin", checksum="md5:" + "0" * 32),
        Entry("c.dat", "reference", None, 1, "s3://b/c.dat", checksum="sha256:c3Vt-2"),
        Entry("d.dat", "reference", None, None, "https://example.org/d.dat"),
    )
    assert named_files(entries) == []
    found = document(IMAGES, Contents(entries, 1, "0" * 64))
    load(found)
    files = by_name(found, "distribution")
    assert files["a.bin"]["sha256"] == digest.hex()
    assert files["b.bin"]["md5"] == "0" * 32
    assert files["*.dat"]["@type"] == "cr:FileSet"
    assert files["a.bin"]["contentUrl"] == "s3://b/a.bin"


def test_address_has_neither_password_nor_signature(story: None) -> None:
    address = "https://ada:hunter2@host/a.bin?X-Amz-Signature=abc&part=1"
    entry = Entry("a.bin", "reference", None, 1, address, checksum="md5:" + "0" * 32)
    found = document(IMAGES, Contents((entry,), 1, "0" * 64))
    load(found)
    (file,) = found["distribution"]
    assert file["contentUrl"] == "https://host/a.bin?X-Amz-Signature=***&part=1"


def test_set_of_unknown_size_does_not_say_that_it_is_empty(story: None) -> None:
    entries = (
        Entry("a.dat", "reference", None, None, "https://example.org/a.dat"),
        Entry("b.dat", "reference", None, 5, "https://example.org/b.dat"),
    )
    found = document(IMAGES, Contents(entries, 1, "0" * 64))
    assert by_name(found, "distribution")["*.dat"]["description"] == "2 files"


def test_table_that_readers_cannot_read_has_no_records(story: None) -> None:
    files = {
        "good.csv": "a,b\n1,2\n",
        "good.tsv": "a\tb\n1\t2\n",
        "semicolons.csv": "a;b\n1;2\n3;4\n",
        "commas.tsv": "a,b\n1,2\n",
        "twice.csv": "a,a\n1,2\n",
        "comment.csv": "# made today\na,b\n1,2\n",
    }
    made = scenario.logged("odd", files)
    found = document(made.qualified_name)
    load(found)
    assert set(by_name(found, "distribution")) == set(files)
    assert set(by_name(found, "recordSet")) - {"commas.tsv"} == {"good.csv", "good.tsv"}


def test_table_that_only_a_set_has_has_no_records(story: None) -> None:
    entry = Entry("far.csv", "reference", None, 8, "https://example.org/far.csv")
    table = Table("far.csv", "csv", (Column("a", "BIGINT"),), True)
    found = document(IMAGES, Contents((entry,), 1, "0" * 64, tables=(table,)))
    assert "recordSet" not in found


def test_records_of_a_compressed_table_and_one_of_tabs_are_read(story: None, tmp_path: Path) -> None:
    made = scenario.draft("plain", {"t.tsv": "x\ty\n1\tu\n"})
    with made.new_file("c.csv.gz", "wb") as file:
        file.write(gzip.compress(b"k,v\n1,u\n", mtime=0))
    made.save()
    found = document(made.qualified_name)
    made.download("here")
    dataset = load(found, **{name: tmp_path / "here" / name for name in ("t.tsv", "c.csv.gz")})
    for name in ("t.tsv", "c.csv.gz"):
        assert [list(row.values()) for row in dataset.records(f"{name}!rows")] == [[1, b"u"]]


def test_licence_and_citation_are_texts(story: None) -> None:
    made = scenario.logged("data", {"a": "1"}, metadata={"license": {"id": "mit"}, "citation": {"x": 1}})
    found = document(made.qualified_name)
    load(found)
    assert (found["license"], found.get("citeAs")) == ("mit", None)


def test_mlcroissant_refuses_a_file_without_its_hash(story: None) -> None:
    found = document(IMAGES)
    del found["distribution"][0]["sha256"]
    with pytest.raises(mlcroissant.ValidationError):
        load(found)
