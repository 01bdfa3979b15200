"""A version as a CycloneDX 1.6 bill of materials in JSON (https://cyclonedx.org, ECMA-424).

The version is the component that the bill is about: ``machine-learning-model`` with a model card, or ``data``. Its
files are components inside it with their BLAKE3, which CycloneDX knows; the hash of the version itself is that of its
manifest. What it was made from, directly or not, are components beside it, and the dependencies say from what each
came; installed packages of its run are libraries, the commit stands in its pedigree. What a run has read and nobody has
declared is a component without a version, and the bill says that it is incomplete there.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ...artifacts.manifest import Entry
from ...storage.masking import mask_address
from ..addresses import iri, repository_url
from ..kinds import is_model
from .contents import Contents
from .extent import Extent, RunRecord, VersionRecord, text_of
from .licenses import bill_entries
from .producer import Producer

_SERIAL = uuid.uuid5(uuid.NAMESPACE_URL, "pkg:pypi/lineart#bom")
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)\s*==\s*(?P<version>[^\s;#]+)")
_FROM_URL = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)\s*@\s*(?P<url>\S+)")
_TEXTS = {"task": "task", "architecture_family": "architectureFamily", "architecture": "modelArchitecture"}


def cyclonedx_bom(
    extent: Extent,
    version: VersionRecord,
    contents: Contents,
    producer: Producer,
    *,
    made_at: str,
    packages: Sequence[str] = (),
) -> dict[str, Any]:
    """The bill as JSON data. `packages`: lines of a requirements file; `made_at`: now, RFC 3339.

    Its serial number follows from name and content of the version: the same version has the same.
    """
    libraries = [found for line in packages if (found := _library(line)) is not None]
    others = [_component(other) for other in extent.versions.values() if other is not version]
    untracked = [found for name in extent.versions for found in _untracked(extent, name)]
    subject = _subject(extent, version, contents)
    bom: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SERIAL, f'{version.version_id} {version.digest}')}",
        "version": 1,
        "metadata": {
            "timestamp": made_at,
            "tools": {
                "components": [
                    {
                        "type": "application",
                        "name": producer.name,
                        "version": producer.version,
                        "externalReferences": [{"type": "website", "url": producer.uri}],
                    }
                ]
            },
            "component": subject,
        },
        "components": [*others, *{found["bom-ref"]: found for found in untracked}.values(), *libraries],
        "dependencies": _dependencies(extent, version, [str(found["bom-ref"]) for found in libraries]),
    }
    incomplete = [name for name in extent.versions if extent.untracked_of(name).count]
    if extent.graph.graph.get("omitted"):
        incomplete.append(version.version_id)
    if incomplete:
        references = [_reference(name) for name in dict.fromkeys(incomplete)]
        bom["compositions"] = [{"aggregate": "incomplete", "dependencies": references}]
    return bom


def _untracked(extent: Extent, version_id: str) -> list[dict[str, Any]]:
    """The files and addresses that the run of a version has read, and that are in no version."""
    run = extent.maker_of(version_id)
    if run is None:
        return []
    found = []
    for read in extent.untracked_of(version_id).listed:
        facts = {
            "lineart:untracked": "true",
            "lineart:run": run.run_id,
            "lineart:size_bytes": "" if read.size_bytes is None else str(read.size_bytes),
        }
        component: dict[str, Any] = {
            "type": "data" if "://" in read.uri else "file",
            "bom-ref": f"art+run://{run.run_id}#{quote(read.uri)}",
            "name": read.uri,
            "properties": _properties(facts),
        }
        if read.digest is not None:
            component["hashes"] = [{"alg": "BLAKE3", "content": read.digest}]
        found.append(component)
    return found


def _component(version: VersionRecord) -> dict[str, Any]:
    kind = "machine-learning-model" if is_model(version.type) else "data"
    found: dict[str, Any] = {
        "type": kind,
        "bom-ref": _reference(version.version_id),
        "group": version.project,
        "name": version.collection,
        "version": version.number,
        "description": version.description,
        "hashes": [{"alg": "BLAKE3", "content": version.digest}] if version.digest else None,
        "licenses": bill_entries(version.metadata.get("license")),
        "tags": list(version.tags),
        "externalReferences": [{"type": "distribution", "url": f"art://{version.version_id}"}],
        "properties": _properties(
            {
                "lineart:type": version.type,
                "lineart:aliases": ",".join(version.aliases),
                "lineart:size_bytes": str(version.size_bytes) if version.digest else "",
                "lineart:created_at": version.created_at,
                "lineart:deleted": "true" if version.deleted else "",
            }
        ),
    }
    if kind == "data":
        contents = {"url": f"art://{version.version_id}"}
        found["data"] = [{"type": "dataset", "name": version.short, "contents": contents}]
    return {key: value for key, value in found.items() if value}


def _subject(extent: Extent, version: VersionRecord, contents: Contents) -> dict[str, Any]:
    found = _component(version)
    run = extent.maker_of(version.version_id)
    if version.user:
        found["authors"] = [{"name": version.user}]
    pedigree = _pedigree(extent, version, run)
    if pedigree:
        found["pedigree"] = pedigree
    files = [_file(version, entry) for entry in contents.entries if entry.digest is not None]
    if files:
        found["components"] = files
    references = [entry.target for entry in contents.entries if entry.kind == "reference" and entry.target]
    found["externalReferences"] += [
        {"type": "distribution", "url": iri(mask_address(uri))} for uri in references
    ]
    if run is not None:
        found["properties"] += _properties(_run_facts(run))
    if found["type"] == "machine-learning-model":
        found["modelCard"] = _model_card(extent, version)
    return found


def _pedigree(extent: Extent, version: VersionRecord, run: RunRecord | None) -> dict[str, Any]:
    """The models that it comes from and, of a link, its source; the commit of its run."""
    ancestors = [edge.version_id for edge in extent.inputs_of(version.version_id)]
    ancestors = [name for name in ancestors if is_model(extent.versions[name].type) == is_model(version.type)]
    source = extent.source_of(version.version_id)
    if source != version.version_id:
        ancestors.insert(0, source)
    found: dict[str, Any] = {}
    if ancestors:
        # A reference may stand once in a bill: here they are told of without.
        found["ancestors"] = [
            {key: value for key, value in _component(extent.versions[name]).items() if key != "bom-ref"}
            for name in ancestors
        ]
    if run is not None and run.git.get("commit"):
        commit = {"uid": str(run.git["commit"])}
        if run.git.get("remote"):
            commit["url"] = repository_url(str(run.git["remote"]))
        found["commits"] = [commit]
        if run.git.get("dirty"):
            found["notes"] = "The working tree had changes that were not committed."
    return found


def _run_facts(run: RunRecord) -> dict[str, str]:
    facts = {
        "lineart:run": run.run_id,
        "lineart:run:name": run.name,
        "lineart:run:job_type": run.job_type or "",
        "lineart:run:state": run.state,
        "lineart:run:command": run.command or "",
        "lineart:run:python": str(run.capture.get("python") or ""),
        "lineart:git:branch": str(run.git.get("branch") or ""),
    }
    return facts | {f"lineart:config:{key}": text_of(value) for key, value in sorted(run.config.items())}


def _model_card(extent: Extent, version: VersionRecord) -> dict[str, Any]:
    datasets = [
        {"ref": _reference(edge.version_id)}
        for edge in extent.inputs_of(version.version_id)
        if not is_model(extent.versions[edge.version_id].type)
    ]
    parameters: dict[str, Any] = {
        ours: text_of(version.metadata[key]) for key, ours in _TEXTS.items() if version.metadata.get(key)
    }
    if datasets:
        parameters["datasets"] = datasets
    card: dict[str, Any] = {"bom-ref": f"{_reference(version.version_id)}#card"}
    if parameters:
        card["modelParameters"] = parameters
    metrics = extent.metrics_of(version.version_id)
    if metrics:
        card["quantitativeAnalysis"] = {
            "performanceMetrics": [{"type": name, "value": repr(value)} for name, value in metrics.items()]
        }
    return card


def _file(version: VersionRecord, entry: Entry) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"{_reference(version.version_id)}/{quote(entry.path)}",
        "name": entry.path,
        "hashes": [{"alg": "BLAKE3", "content": entry.digest}],
        "properties": _properties({"lineart:size_bytes": str(entry.size_bytes)}),
    }


def _library(line: str) -> dict[str, Any] | None:
    """The package that a line of a requirements file names; None when it names none with a version."""
    pinned = _REQUIREMENT.search(line)
    if pinned is not None:
        name = re.sub(r"[-_.]+", "-", pinned["name"]).lower()
        purl = f"pkg:pypi/{name}@{quote(pinned['version'], safe='')}"
        return {"type": "library", "bom-ref": purl, "name": name, "version": pinned["version"], "purl": purl}
    source = _FROM_URL.match(line)
    if source is None:
        return None
    url = mask_address(source["url"])
    reference = f"{source['name'].lower()}@{url}"
    where = {"type": "distribution", "url": iri(url)}
    return {
        "type": "library",
        "bom-ref": reference,
        "name": source["name"].lower(),
        "externalReferences": [where],
    }


def _dependencies(extent: Extent, version: VersionRecord, libraries: Iterable[str]) -> list[dict[str, Any]]:
    """From what each version came: its inputs, or the source of a link. Packages are told of the subject alone."""
    found = []
    for name in extent.versions:
        source = extent.source_of(name)
        needed = [source] if source != name else [edge.version_id for edge in extent.inputs_of(name)]
        depends = list(dict.fromkeys(_reference(needed_name) for needed_name in needed))
        depends += [str(read["bom-ref"]) for read in _untracked(extent, name)]
        if name == version.version_id:
            depends += list(dict.fromkeys(libraries))
        found.append({"ref": _reference(name), "dependsOn": depends})
    return found


def _properties(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items() if value]


def _reference(version_id: str) -> str:
    return f"art://{version_id}"
