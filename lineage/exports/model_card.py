"""A model's version as a Hugging Face model card: Markdown below YAML front matter.

The front matter has the keys that the Hub reads (https://huggingface.co/docs/hub/model-cards): license, library,
task, language and tags from the version's metadata and tags, base model and datasets from its lineage (without what it
was only tested on), and as ``model-index`` the metrics of the run that made it and of runs that have evaluated it since
(`lineage.evaluations`). An input that is a reference to the Hub (``hf://datasets/…``) is called by its name there, any
other by its full name here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..addresses import repository_url
from ..evaluations import UsedVersion, is_evaluation
from ..kinds import is_dataset, is_model
from ..untracked import UntrackedInput
from .contents import Contents
from .extent import EdgeRecord, Extent, RunRecord, VersionRecord, metrics_of, text_of
from .licenses import texts_of

_HUB = re.compile(r"hf://(?:datasets/|models/)?(?P<name>[\w.-]+/[\w.-]+)")
_FROM_METADATA = ("license", "license_name", "license_link", "language", "library_name", "pipeline_tag")
_TESTED = ("test", "eval", "val", "benchmark")  # how roles of data begin that a model is measured on


def render_model_card(
    extent: Extent,
    version: VersionRecord,
    contents: Contents,
    references: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The text of ``README.md``. `references`: the first URIs of each version that has some, by its full name."""
    import yaml

    card = _Card(extent, version, references or {})
    front = yaml.safe_dump(card.front_matter(), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{front}---\n\n{card.text(contents)}"


class _Card:
    """One card in the making."""

    def __init__(
        self, extent: Extent, version: VersionRecord, references: Mapping[str, Sequence[str]]
    ) -> None:
        self.extent = extent
        self.version = version
        self.references = references
        self.run = extent.maker_of(version.version_id)
        self.inputs = extent.inputs_of(version.version_id)

    def front_matter(self) -> dict[str, Any]:
        metadata = self.version.metadata
        front: dict[str, Any] = {key: metadata[key] for key in _FROM_METADATA if metadata.get(key)}
        front["license"] = texts_of(metadata.get("license"))
        tags = metadata.get("tags")
        named = [str(tag) for tag in tags] if isinstance(tags, list) else []
        front["tags"] = list(dict.fromkeys([*named, *self.version.tags])) or None
        base = metadata.get("base_model") or self._inputs_that(lambda edge: is_model(self._type(edge)))
        front["base_model"] = base[0] if isinstance(base, list) and len(base) == 1 else base
        front["datasets"] = self._inputs_that(
            lambda edge: is_dataset(self._type(edge)) and not _is_test(edge.role)
        )
        results = self._results()
        front["metrics"] = list(
            dict.fromkeys(metric["type"] for result in results for metric in result["metrics"])
        )
        if results:
            front["model-index"] = [{"name": self.version.collection, "results": results}]
        return {key: value for key, value in front.items() if value}

    def _type(self, edge: EdgeRecord) -> str:
        return self.extent.versions[edge.version_id].type

    def _inputs_that(self, are: Callable[[EdgeRecord], bool]) -> list[str]:
        """What the Hub calls some of the inputs."""
        found = [self._hub_name(edge.version_id) for edge in self.inputs if are(edge)]
        return list(dict.fromkeys(found))

    def _hub_name(self, version_id: str) -> str:
        """What the Hub calls it, when all that it refers to lies in one repository there."""
        uris = self.references.get(version_id) or self.references.get(self.extent.source_of(version_id)) or ()
        names = {match["name"] if (match := _HUB.match(uri)) else None for uri in uris}
        only = names.pop() if len(names) == 1 else None
        return only or version_id

    # Results

    def _results(self) -> list[dict[str, Any]]:
        found = []
        if self.run is not None:
            metrics = self.extent.metrics_of(self.version.version_id)
            found += self._result(self.run, metrics, self._measured_on(self.run))
        for run in self.extent.runs.values():
            if run is not self.run and self._is_evaluation(run):
                found += self._result(run, metrics_of(run), self._measured_on(run))
        return found

    def _is_evaluation(self, run: RunRecord) -> bool:
        """Whether the run has evaluated this version, or what it is a link to."""
        used = [
            UsedVersion(self._content(edge.version_id), self._type(edge), edge.role)
            for edge in self.extent.edges_of(run.run_id, "used")
        ]
        made = [self._type(edge) for edge in self.extent.edges_of(run.run_id, "produced")]
        return is_evaluation(self._content(self.version.version_id), run.state, used, made)

    def _content(self, version_id: str) -> str:
        return self.extent.versions[version_id].digest or version_id

    def _measured_on(self, run: RunRecord) -> EdgeRecord | None:
        """The data that the run used in a role such as ``test``, else all that it used if that is one version."""
        used = self.extent.edges_of(run.run_id, "used")
        data = [edge for edge in used if not is_model(self.extent.versions[edge.version_id].type)]
        tested = [edge for edge in data if _is_test(edge.role)]
        return next(iter(tested), data[0] if len(data) == 1 else None)

    def _result(
        self, run: RunRecord, metrics: Mapping[str, float], data: EdgeRecord | None
    ) -> list[dict[str, Any]]:
        if not metrics:
            return []
        metadata = self.version.metadata
        task = str(metadata.get("pipeline_tag") or metadata.get("task") or "other")
        if data is None:
            dataset = {"type": "unknown", "name": "unknown"}
        else:
            dataset = {
                "type": self._hub_name(data.version_id),
                "name": self.extent.versions[data.version_id].short,
            }
            digest = self.extent.versions[data.version_id].digest
            if digest is not None:
                dataset["revision"] = digest
        return [
            {
                "task": {"type": task},
                "dataset": dataset,
                "metrics": [{"type": name, "value": value} for name, value in metrics.items()],
                "source": {"name": f"run {run.name}", "url": f"art+run://{run.run_id}"},
            }
        ]

    # Text

    def text(self, contents: Contents) -> str:
        version = self.version
        parts = [f"# {version.collection}", version.description]
        aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
        parts.append(
            f"Version `{version.version_id}`{aliases}, logged {version.created_at[:10]}"
            f"{f' by {version.user}' if version.user else ''}. BLAKE3 of its manifest: `{version.digest}`."
        )
        parts.append(f"```sh\nart get {version.version_id}\n```")
        if self.run is not None:
            parts += self._made(self.run)
        files = [entry for entry in contents.entries if entry.kind != "directory"]
        parts += ["## Files", _table(("file", "bytes"), [(e.path, e.size_bytes) for e in files])]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _made(self, run: RunRecord) -> list[str]:
        facts = [("run", f"{run.name} ({run.run_id})"), ("state", run.state), ("started", run.created_at)]
        facts += [
            ("job", run.job_type or ""),
            ("command", run.command or ""),
            ("commit", str(run.git.get("commit") or "")),
            ("repository", repository_url(str(run.git["remote"])) if run.git.get("remote") else ""),
            ("Python", str(run.capture.get("python") or "")),
        ]
        parts = ["## How it was made", _table(("", ""), [fact for fact in facts if fact[1]])]
        if run.git.get("dirty"):
            parts.append("The working tree had changes that were not committed.")
        untracked = self.extent.untracked_of(self.extent.source_of(self.version.version_id))
        rows = [(edge.version_id, edge.role or "") for edge in self.inputs]
        rows += [(found.uri, _untracked_role(found)) for found in untracked.listed]
        if untracked.omitted:
            rows.append((f"and {untracked.omitted:,} more files or addresses", "untracked"))
        if rows:
            parts += ["### Inputs", _table(("version", "role"), rows)]
        if run.config:
            values = [(key, text_of(value)) for key, value in sorted(run.config.items())]
            parts += ["### Config", _table(("key", "value"), values)]
        metrics = self.extent.metrics_of(self.version.version_id)
        if metrics:
            parts += ["### Metrics", _table(("metric", "value"), list(metrics.items()))]
        return parts


def _is_test(role: str | None) -> bool:
    """Whether a role says that a model is measured on the data, and not made from them."""
    return (role or "").lower().startswith(_TESTED)


def _untracked_role(found: UntrackedInput) -> str:
    size = "" if found.size_bytes is None else f", {found.size_bytes:,} bytes"
    return f"untracked{size}{f', BLAKE3 `{found.digest}`' if found.digest else ''}"


def _table(head: tuple[str, str], rows: Sequence[tuple[object, object]]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join([*lines, *(f"| {_cell(left)} | {_cell(right)} |" for left, right in rows)])


def _cell(value: object) -> str:
    return " ".join(str("" if value is None else value).split()).replace("|", "\\|")
