"""Who is who in two stores: the ops of a log by an identity that they keep when they are copied.

Every op has an *origin*: ``<id of its transaction>.<index in it>`` of the log in which it was said first. A copied op
carries it, with the time (`at`) and the actor (`by`) of then; of any other it follows from where the op lies. So what
has been copied before is found out from the target's log alone, in whatever direction and by whichever way it came.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass

from ..storage.log import Log, Position
from ..storage.transaction import Op, Transaction, actor_of, time_of
from .names import ArtifactName, ProjectName
from .state import ProjectState, apply

EXTERNAL = (
    "~"  # begins the name of a version that is not in this store: ~<origin>/entity/project/collection:vN
)
REVISED = ("metadata", "description", "tags", "ttl_s")
_OF_COLLECTIONS = ("collection.", "version.", "alias.", "promotion.", "approval.", "attestation.")
CREATIONS = ("version.create", "version.absent", "version.same")


@dataclass(frozen=True, slots=True)
class Fact:
    """An op, by whom and when it was said first."""

    origin: str
    op: Op
    time: str
    actor: Mapping[str, str]

    def copied(self, **changes: object) -> dict[str, object]:
        """The op as it stands in another log, with `changes`."""
        return {**self.op, "origin": self.origin, "at": self.time, "by": dict(self.actor), **changes}


def facts_in(transaction: Transaction) -> Iterator[Fact]:
    """The ops of a transaction."""
    for index, op in enumerate(transaction.ops):
        origin = op.get("origin") or f"{transaction.id}.{index}"
        yield Fact(origin, op, time_of(op, transaction), actor_of(op, transaction))


class Known:
    """What a log says, by origin: the folded state, which version came from where, who touched what last."""

    def __init__(self) -> None:
        self.state = ProjectState()
        self.origins: MutableMapping[str, None] = {}
        # The origin of a version → where it is here; several origins may lead to one version.
        self.places: MutableMapping[str, tuple[str, int]] = {}
        self.creators: MutableMapping[tuple[str, int], str] = {}  # version → the origin that it was made by
        self.merged: MutableMapping[str, None] = {}  # origins that were met by a version made by another one
        self.touched: MutableMapping[tuple[str, str, int | None], str] = {}  # alias or field → its last op

    def fork(self) -> Known:
        """A copy to try something on."""
        other = Known()
        other.state = self.state
        other.origins = ChainMap({}, self.origins)
        other.places = ChainMap({}, self.places)
        other.creators = ChainMap({}, self.creators)
        other.merged = ChainMap({}, self.merged)
        other.touched = ChainMap({}, self.touched)
        return other

    def take(self, transaction: Transaction) -> None:
        """Go on to the state after `transaction`. Raises: IntegrityError when it contradicts the state."""
        self.state = apply(self.state, transaction)
        for fact in facts_in(transaction):
            self._note(fact)

    def _note(self, fact: Fact) -> None:
        op, kind = fact.op, str(fact.op.get("op"))
        self.origins[fact.origin] = None
        if kind in CREATIONS:
            where = op["collection"], op["version"]
            self.places[fact.origin] = where
            if kind == "version.same":
                self.merged[fact.origin] = None
            else:
                self.creators[where] = fact.origin
        for key in subjects(op):
            self.touched[key] = fact.origin


def subjects(op: Op) -> Iterator[tuple[str, str, int | None]]:
    """What an op of a collection sets, as keys of `Known.touched`."""
    kind = op.get("op")
    if kind in ("alias.move", "alias.promote"):
        yield op["collection"], f"alias {op['alias']}", None
    elif kind == "alias.protect":
        yield op["collection"], f"protection {op['alias']}", None
    elif kind == "collection.policy":
        yield op["collection"], "policy", None
    elif kind == "version.revise":
        for field in REVISED:
            if field in op:
                yield op["collection"], field, op["version"]
    elif kind in ("version.delete", "version.restore"):
        yield op["collection"], "deleted", op["version"]
    elif kind in ("collection.create", "collection.revise"):
        yield op["collection"], "description", None


class History(Known):
    """The log of a project in a store, read as far as it has grown, with its ops in order."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self.position = Position()
        self.by_collection: dict[str, list[Fact]] = {}
        self.by_run: dict[str, list[Fact]] = {}
        self.mirrored: list[Fact] = []  # uses by runs of other projects
        self.settings: list[Fact] = []  # of the project as a registry

    def refresh(self) -> History:
        """Read what is new; returns itself. Raises: CommError, IntegrityError."""
        for entry in self._log.read_after(self.position):
            self.take(entry.transaction)
            self.position = entry.position
        return self

    def _note(self, fact: Fact) -> None:
        super()._note(fact)
        kind = str(fact.op.get("op"))
        if kind.startswith(_OF_COLLECTIONS):
            self.by_collection.setdefault(fact.op["collection"], []).append(fact)
        elif kind == "edge.used_by":
            self.mirrored.append(fact)
        elif kind == "registry.revise":
            self.settings.append(fact)
        elif kind.startswith(("run.", "edge.")):
            self.by_run.setdefault(fact.op["run"], []).append(fact)


def external_name(origin: str, name: str) -> str:
    """How a version is named in a store that does not have it."""
    return f"{EXTERNAL}{origin}/{name}"


def split_external(name: str) -> tuple[str | None, str]:
    """Origin and name of what `external_name` made; of any other name None and the name.

    >>> split_external("~5e.0/team/digits/data:v3")
    ('5e.0', 'team/digits/data:v3')
    """
    if not name.startswith(EXTERNAL):
        return None, name
    origin, _, rest = name[len(EXTERNAL) :].partition("/")
    return origin, rest


def parse_full(name: str) -> ArtifactName:
    """Read ``entity/project/collection:vN`` as it stands in a log. Raises: InvalidNameError."""
    return ArtifactName.parse(name, ProjectName("-", "-"))
