"""PROV-JSON, read back by the `prov` package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from prov.model import (
    ProvActivity,
    ProvAgent,
    ProvAlternate,
    ProvAssociation,
    ProvAttribution,
    ProvDerivation,
    ProvDocument,
    ProvEntity,
    ProvGeneration,
    ProvSpecialization,
    ProvUsage,
)

import lineart
import scenario
from lineart.lineage.exports import Producer, prov_document

from .conftest import LINK, MODEL, PROJECT, extent_of, project_extent

PRODUCER = Producer("lineart", "1", "pkg:pypi/lineart@1")


def read(value: dict[str, Any]) -> Any:
    """The document as another implementation understands it; what it writes must say the same."""
    found = ProvDocument.deserialize(content=json.dumps(value), format="json")
    assert found == ProvDocument.deserialize(content=found.serialize(format="json"), format="json")
    return found


def names(document: ProvDocument, kind: type) -> list[tuple[str, ...]]:
    """The names in each record of a kind; of elements their identifiers."""
    found = []
    for record in document.get_records(kind):
        if record.is_element():
            found.append((str(record.identifier),))
        else:
            values = [value for _, value in record.formal_attributes]
            found.append(tuple(str(value) for value in values if not hasattr(value, "tzinfo")))
    return sorted(found)


def walk(value: Any) -> Iterator[str]:
    """All keys and texts."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner)
    elif isinstance(value, str):
        yield value


def test_control_characters_do_not_keep_it_from_becoming_xml(story: None) -> None:
    with lineart.init(project=PROJECT, config={"bell": "\x07"}, name="ding\x07", notes="\x00") as run:
        run.use_artifact(MODEL, role="a\x01b")
    document = prov_document(project_extent(), PRODUCER)
    read(document)
    texts = [part for sections in document.values() for part in walk(sections)]
    assert "ding\\u0007" in texts
    assert "a\\u0001b" in texts
    assert not [text for text in texts if any(ord(letter) < 32 for letter in text)]


def test_versions_runs_and_users_are_what_prov_calls_them(story: None) -> None:
    document = read(prov_document(project_extent(), PRODUCER))
    entities = {name for (name,) in names(document, ProvEntity)}
    for short in ("images:v0", "golden:v0", "classifier:v0", "classifier"):
        assert f"art:{PROJECT}/{short}" in {entity.replace("\\", "") for entity in entities}
    assert [name for (name,) in names(document, ProvActivity)] == [
        f"run:{PROJECT}/{run}" for run in ("again", "bad", "judge", "prep", "train")
    ]
    users = [str(agent.identifier) for agent in document.get_records(ProvAgent)]
    assert any(user.startswith("user:") for user in users)
    assert "lineart:lineart-1" in users
    assert len(names(document, ProvAssociation)) == 2 * 5
    assert len(names(document, ProvAttribution)) == 4  # three versions and the link


def test_uses_and_productions_with_roles_and_times(story: None) -> None:
    document = read(prov_document(project_extent(), PRODUCER))
    used = [record for record in document.get_records(ProvUsage) if "train" in str(record.args[0])]
    roles = {str(record.args[1].localpart): record.get_attribute("prov:role") for record in used}
    assert roles == {f"{PROJECT}/images:v0": {"train"}, f"{PROJECT}/golden:v0": {"test"}}
    assert all(record.args[2] is not None for record in used)
    (run,) = [
        record for record in document.get_records(ProvActivity) if str(record.identifier).endswith("/train")
    ]
    assert run.get_endTime() >= run.get_startTime()
    assert json.loads(next(iter(run.get_attribute("lineart:config")))) == {"lr": 0.1, "layers": [1, 2]}


def test_only_declared_inputs_are_derivations(story: None) -> None:
    document = read(prov_document(project_extent(), PRODUCER))
    pairs = [(r.args[0].localpart, r.args[1].localpart) for r in document.get_records(ProvDerivation)]
    assert pairs == [(MODEL, f"{PROJECT}/images:v0")]


def test_each_entity_is_generated_once(story: None) -> None:
    document = read(prov_document(project_extent(), PRODUCER))
    generated = [record.args[0].localpart for record in document.get_records(ProvGeneration)]
    assert len(generated) == len(set(generated)) == 4
    again = f"{MODEL}/again/again"
    assert again in generated
    alternates = {(r.args[0].localpart, r.args[1].localpart) for r in document.get_records(ProvAlternate)}
    assert alternates == {(again, MODEL), (LINK, MODEL)}


def test_version_is_a_specialization_of_its_collection(story: None) -> None:
    document = read(prov_document(extent_of(MODEL, "upstream"), PRODUCER))
    pairs = {(r.args[0].localpart, r.args[1].localpart) for r in document.get_records(ProvSpecialization)}
    assert (MODEL, f"{PROJECT}/classifier") in pairs


def test_version_made_outside_of_a_run_and_one_left_elsewhere(story: None) -> None:
    workspace = scenario.workspace(PROJECT)
    scenario.logged("loose", {"a": "b"})
    fact = {
        "op": "edge.use",
        "project": "far/away",
        "run": "prep",
        "collection": "data",
        "version": 3,
        "role": None,
    }
    workspace.project().commit(lambda state: [fact])
    document = read(prov_document(project_extent(), PRODUCER))
    far = next(r for r in document.get_records(ProvEntity) if r.identifier.localpart == "far/away/data:v3")
    assert not far.get_attribute("lineart:digest")
    assert any(r.identifier.localpart == f"{PROJECT}/loose:v0" for r in document.get_records(ProvEntity))
