"""Registries read back and set up: collections of links to versions, with rules for what may be in them.

A registry is a project; `model-registry` is the one that `run.link_model` uses. What makes another project one is
`Registry.configure`, or the first link into it when its name ends in ``-registry``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..artifacts.decisions import find_collection
from ..artifacts.names import ArtifactName, ProjectName, nearest
from ..artifacts.protection import decide_policy, decide_registered, decide_registry
from ..artifacts.state import ProjectState, RegistrySettings
from ..registry.policy import Policy, read_policy
from ..storage.errors import UsageError
from .api_collections import ArtifactCollection
from .run_filters import parse_filters
from .run_matching import holds
from .settings import DEFAULT_REGISTRY
from .workspace import Workspace

if TYPE_CHECKING:
    from .artifact import Artifact

_SUFFIX = "-registry"


def is_registry(name: ProjectName, state: ProjectState) -> bool:
    """Whether a project is a registry: it was set up as one, or is named like one and has links."""
    return state.registry is not None or (name.project.endswith(_SUFFIX) and bool(state.collections))


def registry_name(workspace: Workspace, text: str | None) -> ProjectName:
    """Read ``[entity/]registry``, by default `model-registry`. Raises: InvalidNameError."""
    home = ProjectName(workspace.project_name.entity, DEFAULT_REGISTRY)
    return home if text is None else ProjectName.parse(text, home)


def find_registries(workspace: Workspace) -> list[Registry]:
    """All registries of the store, by name."""
    names = sorted(workspace.project_names(), key=str)
    found = [Registry(workspace, name) for name in names]
    return [registry for registry in found if is_registry(registry.path, registry.state())]


class Registry:
    """A registry: registered models by name, with versions, aliases and policies. Each question asks the log anew."""

    def __init__(self, workspace: Workspace, name: ProjectName) -> None:
        self._workspace = workspace
        self.path = name

    def state(self) -> ProjectState:
        """What the log says now."""
        return self._workspace.state(self.path)

    def _settings(self) -> RegistrySettings:
        return self.state().registry or RegistrySettings()

    @property
    def name(self) -> str:
        """Its name, without the entity."""
        return self.path.project

    @property
    def entity(self) -> str:
        """Its entity."""
        return self.path.entity

    @property
    def description(self) -> str:
        """What was said of it."""
        return self._settings().description

    @property
    def artifact_types(self) -> list[str]:
        """The types of artifacts that may be in it; none named: all."""
        return list(self._settings().types)

    @property
    def policy(self) -> str | None:
        """The policy file that holds for all of its models, None without one."""
        found = self._settings().policy
        return None if found is None else found.text

    def __repr__(self) -> str:
        return f"<Registry {self.path}>"

    def collections(
        self, filter: Mapping[str, Any] | None = None, order: str | None = None
    ) -> list[ArtifactCollection]:
        """The registered models that `filter` finds, sorted.

        `filter` is a dictionary in the manner of MongoDB over ``name``, ``type``, ``description``, ``created_at``,
        ``aliases``, ``tags``; `order` one of them, with ``-`` for the greatest first (default: name).
        Raises: UsageError naming what is wrong in either.
        """
        found = self.state().collections.values()
        documents = [
            (
                {
                    "name": c.name,
                    "type": c.type,
                    "description": c.description,
                    "created_at": c.created_at,
                    "aliases": sorted(c.aliases),
                    "tags": list(c.tags),
                },
                c,
            )
            for c in found
        ]
        return [
            ArtifactCollection(self._workspace, self.path, collection)
            for collection in _chosen(documents, filter, order or "name", _COLLECTION_KEYS)
        ]

    def collection(self, name: str) -> ArtifactCollection:
        """One registered model. Raises: NotFoundError with the nearest names."""
        return ArtifactCollection(self._workspace, self.path, find_collection(self.state(), name))

    def versions(self, filter: Mapping[str, Any] | None = None, order: str | None = None) -> list[Artifact]:
        """The live versions of all models that `filter` finds.

        Over ``name``, ``type``, ``version`` (a number), ``aliases``, ``tags``, ``metadata.…``, ``created_at``,
        ``size``; ordered by one of them (default: ``-created_at``). Raises: UsageError.
        """
        from .artifact import Artifact

        documents = [
            (
                {
                    "name": c.name,
                    "type": c.type,
                    "version": v.number,
                    "aliases": list(c.aliases_of(v.number)),
                    "tags": list(v.tags),
                    "metadata": dict(v.metadata),
                    "created_at": v.created_at,
                    "size": v.size_bytes,
                },
                (c.name, v.number),
            )
            for c in self.state().collections.values()
            for v in c.live()
        ]
        found = _chosen(documents, filter, order or "-created_at", _VERSION_KEYS)
        return [
            Artifact.of(
                self._workspace,
                self._workspace.version(ArtifactName(self.path, name, f"v{number}")),
            )
            for name, number in found
        ]

    # Setting up

    def configure(
        self, *, description: str | None = None, artifact_types: Sequence[str] | None = None
    ) -> None:
        """Make the project a registry, or change what is said of it; None leaves as it is.

        Raises: UsageError when models that it has are of no type of `artifact_types`.
        """
        self._workspace.project(self.path).commit(
            lambda state: decide_registry(state, description=description, types=artifact_types)
        )

    def create_collection(
        self,
        name: str,
        type: str = "model",
        description: str = "",
        protect: Sequence[str] = (),
        tags: Sequence[str] = (),
    ) -> ArtifactCollection:
        """A registered model without versions yet, with protected aliases; one that exists is changed to what is given.

        Raises: UsageError when it has another type, or the registry does not take this one; InvalidNameError.
        """
        self._workspace.project(self.path).commit(
            lambda state: decide_registered(
                state, name, type, description=description, protect=protect, tags=tags
            )
        )
        return self.collection(name)

    def set_policy(self, text: str | None, collection: str | None = None) -> Policy | None:
        """Set the policy of a model, or (None) the one that holds for all; `text` None takes it off. It, read.

        Raises: UsageError naming what is wrong in it; NotFoundError.
        """
        policy = None if text is None else read_policy(text, "given")
        self._workspace.project(self.path).commit(
            lambda state: decide_policy(state, collection, None if policy is None else policy.source)
        )
        return policy


_COLLECTION_KEYS = ("name", "type", "description", "created_at", "aliases", "tags")
_VERSION_KEYS = ("name", "type", "version", "aliases", "tags", "metadata", "created_at", "size")


_ROOT = "config"  # the filters are those of runs, whose free keys are below this one


def _inside(filter: object, keys: Sequence[str]) -> dict[str, Any]:
    """A filter of runs that says of their config what `filter` says. Raises: UsageError for an unknown key."""
    if not isinstance(filter, Mapping):
        raise UsageError(f"filter: {filter!r} is {type(filter).__name__}, expected a dictionary")
    found: dict[str, Any] = {}
    for key, wanted in filter.items():
        if str(key).startswith("$"):
            several = isinstance(wanted, (list, tuple))
            found[key] = [_inside(part, keys) for part in wanted] if several else _inside(wanted, keys)
        elif str(key).partition(".")[0] not in keys:
            raise UsageError(f"filter: there is no key {key!r}{nearest(str(key), keys)}")
        else:
            found[f"{_ROOT}.{key}"] = wanted
    return found


def _chosen(
    documents: Iterable[tuple[dict[str, Any], Any]],
    filter: Mapping[str, Any] | None,
    order: str,
    keys: Sequence[str],
) -> list[Any]:
    """What `filter` finds, in order. Raises: UsageError."""
    key = order.removeprefix("-").removeprefix("+")
    if key not in keys or key in ("aliases", "tags", "metadata"):
        raise UsageError(f"order {order!r}: there is no key {key!r}{nearest(key, keys)}")
    node = parse_filters(_inside(filter, keys) if filter else None)
    found = [(document, value) for document, value in documents if holds(node, {_ROOT: document})]
    found.sort(key=lambda pair: pair[0]["name"])
    found.sort(key=lambda pair: pair[0][key], reverse=order.startswith("-"))
    return [value for _, value in found]
