"""Lineage as W3C PROV in its JSON form (https://www.w3.org/submissions/prov-json/).

===========================  ======================================================================================
version                      entity ``art:entity/project/name:vN``, a specialization of its collection's entity
link                         entity, an alternate of the version whose content it shares
run                          activity ``run:entity/project/id``
user                         agent (``prov:Person``); runs are associated with, versions attributed to users
use, production              ``used`` (with its role), ``wasGeneratedBy``
declared input               ``wasDerivedFrom``. Run-level inputs have none: that the run had used something before is
                             all that is known, and PROV says by a derivation that it had an effect.
same content made again      an entity of its own that the later run generated, an alternate of the version: in PROV
                             an entity is generated once
===========================  ======================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .extent import Extent, RunRecord, VersionRecord, metrics_of, run_of, text_of
from .graphml import xml_text
from .producer import Producer

_OWN = "pkg:pypi/lineart#"  # the names of our own attributes; the package URL means this project wherever it lives
PREFIXES = {"art": "art://", "run": "art+run://", "user": "art+user://", "lineart": _OWN}


def prov_document(extent: Extent, producer: Producer) -> dict[str, Any]:
    """The document as JSON data. Relations are numbered in the order of what they tell."""
    document = _Document()
    tool = f"lineart:{producer.name}-{producer.version}"
    document.put(
        "agent", tool, {"prov:type": _name("prov:SoftwareAgent"), "lineart:version": producer.version}
    )
    for version in extent.versions.values():
        _put_version(document, version)
    for run in extent.runs.values():
        _put_run(document, run, tool)
    _put_edges(document, extent)
    _put_derivations(document, extent)
    for link, source in extent.links():
        document.relate("alternateOf", {"prov:alternate1": f"art:{link}", "prov:alternate2": f"art:{source}"})
    return document.value


class _Document:
    """PROV-JSON in the making: sections of things by name."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {"prefix": dict(PREFIXES)}

    def put(self, section: str, name: str, attributes: Mapping[str, Any]) -> None:
        present = {key: _written(value) for key, value in attributes.items() if value not in (None, "", [])}
        self.value.setdefault(section, {}).setdefault(xml_text(name), present)

    def relate(self, kind: str, attributes: Mapping[str, Any]) -> None:
        self.put(kind, f"_:{kind}{len(self.value.get(kind, {})) + 1}", attributes)

    def user(self, name: str) -> str:
        self.put("agent", f"user:{name}", {"prov:type": _name("prov:Person"), "prov:label": name})
        return f"user:{name}"


def _written(value: Any) -> Any:
    """PROV has a form in XML, too, that such a document is turned into: without what XML cannot hold."""
    if isinstance(value, list):
        return [_written(item) for item in value]
    return xml_text(value) if isinstance(value, str) else value


def _name(name: str) -> dict[str, str]:
    return {"$": name, "type": "prov:QUALIFIED_NAME"}


def _put_version(document: _Document, version: VersionRecord) -> None:
    entity, collection = f"art:{version.version_id}", f"art:{version.project}/{version.collection}"
    document.put(
        "entity",
        entity,
        {
            "prov:label": version.short,
            "prov:type": version.type,
            "lineart:digest": version.digest and f"blake3:{version.digest}",
            "lineart:sizeBytes": version.size_bytes if version.digest else None,
            "lineart:fileCount": version.file_count if version.digest else None,
            "lineart:description": version.description,
            "lineart:alias": list(version.aliases),
            "lineart:tag": list(version.tags),
            "lineart:deleted": version.deleted or None,
        },
    )
    document.put(
        "entity", collection, {"prov:label": version.collection, "prov:type": _name("lineart:Collection")}
    )
    document.relate("specializationOf", {"prov:specificEntity": entity, "prov:generalEntity": collection})
    if version.user:
        document.relate("wasAttributedTo", {"prov:entity": entity, "prov:agent": document.user(version.user)})


def _put_run(document: _Document, run: RunRecord, tool: str) -> None:
    activity = f"run:{run.run_id}"
    document.put(
        "activity",
        activity,
        {
            "prov:startTime": run.created_at,
            "prov:endTime": run.finished_at,
            "prov:label": run.name,
            "prov:type": run.job_type,
            "lineart:state": run.state,
            "lineart:config": text_of(dict(run.config)) if run.config else None,
            "lineart:metrics": text_of(metrics_of(run)) if metrics_of(run) else None,
            "lineart:command": run.command,
            "lineart:gitCommit": run.git.get("commit"),
            "lineart:gitRemote": run.git.get("remote"),
            "lineart:gitDirty": run.git.get("dirty"),
            "lineart:host": run.host,
        },
    )
    agents = [tool] if run.user is None else [document.user(run.user), tool]
    for agent in agents:
        document.relate("wasAssociatedWith", {"prov:activity": activity, "prov:agent": agent})


def _put_edges(document: _Document, extent: Extent) -> None:
    for edge in extent.edges:
        activity, entity = f"run:{edge.run_id}", f"art:{edge.version_id}"
        if edge.kind == "used":
            role = {"prov:role": edge.role} if edge.role else {}
            document.relate(
                "used", {"prov:activity": activity, "prov:entity": entity, "prov:time": edge.time, **role}
            )
            continue
        if not edge.is_new:
            again = f"{entity}/again/{edge.run_id.rpartition('/')[2]}"
            label = f"{extent.versions[edge.version_id].short}, made again"
            document.put("entity", again, {"prov:label": label})
            document.relate("alternateOf", {"prov:alternate1": again, "prov:alternate2": entity})
            entity = again
        document.relate(
            "wasGeneratedBy", {"prov:entity": entity, "prov:activity": activity, "prov:time": edge.time}
        )


def _put_derivations(document: _Document, extent: Extent) -> None:
    graph = extent.graph
    made = sorted(
        (used, run, output)
        for run, output, data in graph.edges(data=True)
        if data["kind"] == "produced" and data["exact"]
        for used, _, _ in graph.in_edges(run, data=True)
    )
    for used, run, output in made:
        document.relate(
            "wasDerivedFrom",
            {
                "prov:generatedEntity": f"art:{output}",
                "prov:usedEntity": f"art:{used}",
                "prov:activity": f"run:{run_of(run)}",
            },
        )
