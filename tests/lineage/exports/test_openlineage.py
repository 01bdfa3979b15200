"""OpenLineage events: their form by the published classes, and what they say.

No package carries the JSON schema itself. The classes of openlineage-python are generated from it, each facet with the
address of its schema; here every value has to fit into them, key by key and type by type. The core's own rules that a
class does not have (which keys an event must have, formats of ids and times) are written down below.
"""

from __future__ import annotations

import datetime
import enum
import importlib
import json
import pkgutil
import types
import typing
import uuid
from collections.abc import Mapping
from typing import Any

import attr
import pytest
from jsonschema import Draft202012Validator
from openlineage.client import generated
from openlineage.client.generated.base import BaseFacet, RunEvent

import lineart
import scenario
from lineart.lineage.addresses import repository_url
from lineart.lineage.exports import Column, Producer, Table, openlineage_events
from lineart.lineage.exports.openlineage import run_uuid

from .conftest import LINK, MODEL, PROJECT, extent_of, project_extent

PRODUCER = Producer("lineart", "1", "pkg:pypi/lineart@1")

# The structure that the specification asks of a run event.
_NAMED = {
    "type": "object",
    "required": ["namespace", "name"],
    "properties": {"namespace": {"type": "string"}, "name": {"type": "string"}},
}
CORE = {
    "type": "object",
    "required": ["eventTime", "producer", "schemaURL", "run", "job", "eventType"],
    "properties": {
        "eventTime": {"type": "string"},
        "producer": {"type": "string"},
        "schemaURL": {"const": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"},
        "eventType": {"enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "run": {"type": "object", "required": ["runId"], "properties": {"runId": {"type": "string"}}},
        "job": _NAMED,
        "inputs": {"type": "array", "items": _NAMED},
        "outputs": {"type": "array", "items": _NAMED},
    },
    "additionalProperties": False,
}


def facet_classes() -> dict[str, type]:
    """The class of each schema's address."""
    found: dict[str, type] = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for value in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, BaseFacet):
                found[value._get_schema()] = value
    return found


FACETS = facet_classes()


def fit(kind: Any, value: Any, where: str) -> None:
    """Fail unless `value` is of the form that a class or a type says."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        assert value is not None, where  # what is missing is left out
        return fit(next(part for part in typing.get_args(kind) if part is not type(None)), value, where)
    if typing.get_origin(kind) is list:
        assert isinstance(value, list), where
        for item in value:
            fit(typing.get_args(kind)[0], item, where)
    elif typing.get_origin(kind) is dict:
        for key, inner in value.items():
            fit_facet(typing.get_args(kind)[1], inner, f"{where}.{key}")
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        kind(value)
    elif attr.has(kind):
        fit_class(kind, value, where, extra=())
    else:
        assert isinstance(value, kind), f"{where}: {value!r} is no {kind}"
        assert kind is bool or not isinstance(value, bool), where
    return None


def fit_facet(base: type, value: Mapping[str, Any], where: str) -> None:
    assert set(value) >= {"_producer", "_schemaURL"}, where
    kind = FACETS[value["_schemaURL"]]
    assert issubclass(kind, base), f"{where}: {kind} is no {base}"
    is_ours = where.rpartition(".")[2].startswith("lineart_")
    assert is_ours == ("/facets/" not in value["_schemaURL"]), where
    fit_class(kind, value, where, extra=value if is_ours else ())


def fit_class(kind: type, value: Mapping[str, Any], where: str, *, extra: typing.Iterable[str]) -> None:
    attr.resolve_types(kind)
    fields = {field.name: field for field in attr.fields(kind)}
    required = {name for name, field in fields.items() if field.default is attr.NOTHING}
    assert required <= set(value) <= {*fields, *extra}, f"{where}: {set(value) ^ set(fields)}"
    for key, inner in value.items():
        if key in fields:
            fit(fields[key].type, inner, f"{where}.{key}")


def check(events: list[dict[str, Any]]) -> None:
    for event in json.loads(json.dumps(events)):
        Draft202012Validator(CORE).validate(event)
        assert datetime.datetime.fromisoformat(event["eventTime"]).utcoffset() == datetime.timedelta(0)
        assert str(uuid.UUID(event["run"]["runId"])) == event["run"]["runId"]
        fit_class(RunEvent, event, event["eventType"], extra=())


def of_run(events: list[dict[str, Any]], run: str) -> list[dict[str, Any]]:
    return [event for event in events if event["run"]["runId"] == run_uuid(f"{PROJECT}/{run}")]


@pytest.fixture
def events(story: None) -> list[dict[str, Any]]:
    return openlineage_events(project_extent(), PRODUCER)


def test_every_event_and_facet_has_the_published_form(events: list[dict[str, Any]]) -> None:
    check(events)
    assert len(events) == 10
    assert [event["eventTime"] for event in events] == sorted(event["eventTime"] for event in events)


@pytest.mark.parametrize("break_it", ["no version", "a number as text", "a key too many", "no schema"])
def test_check_finds_what_is_wrong(events: list[dict[str, Any]], break_it: str) -> None:
    (used,) = of_run(events, "bad")[1]["inputs"]
    facets = used["facets"]
    if break_it == "no version":
        del facets["version"]["datasetVersion"]
    elif break_it == "a number as text":
        used["inputFacets"]["inputStatistics"]["size"] = "12"
    elif break_it == "a key too many":
        facets["documentation"]["title"] = "x"
    else:
        del facets["lineart_version"]["_schemaURL"]
    with pytest.raises(AssertionError):
        check(events)


def test_run_starts_and_ends_with_what_it_used_and_made(events: list[dict[str, Any]]) -> None:
    start, end = of_run(events, "train")
    assert (start["eventType"], start["inputs"], start["outputs"]) == ("START", [], [])
    assert end["eventType"] == "COMPLETE"
    assert [used["name"] for used in end["inputs"]] == ["images", "golden"]
    assert [used["inputFacets"]["lineart_use"]["role"] for used in end["inputs"]] == ["train", "test"]
    (made,) = end["outputs"]
    assert (made["namespace"], made["name"]) == (f"art://{PROJECT}", "classifier")
    assert made["facets"]["version"]["datasetVersion"] == "v0"
    assert made["facets"]["lineart_version"]["digest"].startswith("blake3:")
    assert made["facets"]["datasetType"]["datasetType"] == "MODEL"
    assert made["outputFacets"]["outputStatistics"]["fileCount"] == 2
    parameters = start["run"]["facets"]["executionParameters"]["parameters"]
    assert parameters == [{"key": "layers", "value": "[1, 2]"}, {"key": "lr", "value": "0.1"}]
    assert end["run"]["facets"]["lineart_result"]["metrics"] == {"accuracy": 0.9, "nested.f1": 0.5}
    assert end["job"]["name"] == "train"


def test_content_that_was_there_is_an_output_that_is_not_new(events: list[dict[str, Any]]) -> None:
    (made,) = of_run(events, "again")[1]["outputs"]
    assert made["outputFacets"]["lineart_production"]["isNew"] is False


def test_failed_run_fails_with_its_message(events: list[dict[str, Any]]) -> None:
    last = of_run(events, "bad")[1]
    assert last["eventType"] == "FAIL"
    assert last["run"]["facets"]["errorMessage"]["message"] == "ValueError: oops"


def test_running_and_preempted_runs_and_git(tmp_path: Any) -> None:
    workspace = scenario.workspace()
    git = {"commit": "ab" * 20, "branch": "main", "remote": "git@example.org:team/code.git", "dirty": True}
    ops: list[dict[str, Any]] = [
        {
            "op": "run.start",
            "run": "r1",
            "config": {},
            "capture": {"git": git, "command": ["src/train.py", "-x"]},
        },
        {"op": "run.start", "run": "r2", "config": {}, "capture": {}},
        {"op": "run.finish", "run": "r2", "state": "preempted", "exit_code": 1, "summary": {}, "error": None},
    ]
    workspace.project().commit(lambda state: ops)
    events = openlineage_events(project_extent(), PRODUCER)
    check(events)
    start, last = of_run(events, "r1")
    assert (last["eventType"], start["job"]["name"]) == ("RUNNING", "train.py")
    location = start["job"]["facets"]["sourceCodeLocation"]
    assert (location["url"], location["version"]) == ("ssh://git@example.org/team/code.git", "ab" * 20)
    assert of_run(events, "r2")[1]["eventType"] == "ABORT"


def test_run_ids_are_uuids_that_stay(story: None) -> None:
    assert run_uuid("team/digits/train") == "e3cd064b-0c98-52ef-9eb1-74c5748c0ea1"
    assert openlineage_events(project_extent(), PRODUCER) == openlineage_events(project_extent(), PRODUCER)


def test_columns_are_told_where_they_are_known(story: None) -> None:
    one = Table("l.csv", "csv", (Column("id", "BIGINT"),), True)
    tables = {f"{PROJECT}/golden:v0": [one], f"{PROJECT}/images:v0": [one, one]}
    events = openlineage_events(project_extent(), PRODUCER, tables)
    check(events)
    images, golden = of_run(events, "train")[1]["inputs"]
    assert golden["facets"]["schema"]["fields"] == [{"name": "id", "type": "BIGINT"}]
    assert images["facets"]["schema"]["fields"][0]["type"] == "struct"


def test_link_names_what_it_links(story: None) -> None:
    with lineart.init(project="team/serving", id="serve") as run:
        run.use_artifact(LINK)
    extent = extent_of(LINK)
    events = openlineage_events(extent, PRODUCER)
    check(events)
    used = next(
        event
        for event in reversed(events)
        if event["inputs"] and event["job"]["namespace"] == "art://team/serving"
    )
    (link,) = used["inputs"]
    assert link["facets"]["symlinks"]["identifiers"] == [
        {"namespace": f"art://{PROJECT}", "name": MODEL.rpartition("/")[2].partition(":")[0], "type": "LINK"}
    ]


@pytest.mark.parametrize(
    "remote, url",
    [
        ("https://example.org/c.git", "https://example.org/c.git"),
        ("example.org:c.git", "ssh://example.org/c.git"),
        ("/srv/git/c", "file:///srv/git/c"),
    ],
)
def test_remotes_become_urls(remote: str, url: str) -> None:
    assert repository_url(remote) == url
