"""Copying a collection between stores: the ops that make the target's log say what the source's log says. Pure.

The ops of the source are said again in their order, each once (see `history`). The laws:

- A version that the target has, by origin or as live content, is that version; any other gets its own number if the
  target's numbers are a beginning of the source's, and the next one if not.
- What the target's people have set themselves (an alias, a description, …) stays, and is told; `force_aliases` moves
  aliases all the same. ``latest`` follows the newest number.
- What the target has deleted stays deleted.
- Nothing that could be said twice is said twice: a second copy has no ops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..storage.errors import UsageError
from ..storage.transaction import Op, Transaction
from .decisions import LATEST
from .history import EXTERNAL, REVISED, Fact, History, Known, subjects
from .packs import PLACES
from .state import CollectionState, Promoted, VersionState

# A transaction may have 65,536 ops, since the catalog numbers them so; beyond `_EAGER` a version that was deleted later
# is deleted as soon as it is made, so that each transaction can end where it is full.
BATCH_OPS = 4000
_EAGER = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRules:
    """What a copy of one collection needs to know beside the two logs."""

    collection: str
    numbers: frozenset[int] | None  # of the source's versions; None: all of them
    where: str  # names both sides in messages: "s3://bucket, team/digits"
    resolve: Callable[
        [str], str
    ]  # full name of a version of the source → its name in the target, or an external one
    run: Callable[
        [str], str | None
    ]  # id of a run of the source → the same in the target, None if it is taken there
    project: Callable[[str], str]  # entity/project of the source → of the target
    places: Callable[
        [int], Mapping[str, Any]
    ]  # of a version of the source, `PLACES` of its content in the target
    force_aliases: bool = False


@dataclass(slots=True)
class CollectionPlan:
    """What is to be said in the target's log next; `is_complete` unless more is to follow in another transaction."""

    ops: list[Op] = field(default_factory=list)
    created: dict[int, int] = field(default_factory=dict)  # made or restored, by their number in the source
    deleted: dict[int, int] = field(default_factory=dict)  # tombstones
    numbers: dict[int, int] = field(default_factory=dict)  # of all chosen versions that the target has then
    conflicts: list[str] = field(default_factory=list)
    is_complete: bool = True


def check_type(rules: CopyRules, source: Known, target: Known) -> None:
    """Raises: UsageError when the target has a collection of that name with another type."""
    wanted, found = (known.state.collections.get(rules.collection) for known in (source, target))
    if wanted is not None and found is not None and wanted.type != found.type:
        raise UsageError(
            f"artifact {rules.collection!r} has type {found.type!r} in {rules.where}, not {wanted.type!r};"
            " copy it into another project with --to"
        )


def plan_collection(rules: CopyRules, source: History, target: Known) -> CollectionPlan:
    """The ops that are to be appended to a log in the state `target`. Raises: UsageError for a type conflict."""
    check_type(rules, source, target)
    return _Replay(rules, source, target).run()


class _Replay:
    """One walk through the source's ops of a collection."""

    def __init__(self, rules: CopyRules, source: History, target: Known) -> None:
        self.rules = rules
        self.source = source
        self.target = target.fork()
        self.name = rules.collection
        self.facts = source.by_collection.get(self.name, [])
        self.final = source.state.collections[self.name]
        self.plan = CollectionPlan()
        self.blocked: dict[str, str] = {}  # subject → what is said about it if it stays so
        self.blocked_aliases: dict[str, Fact] = {}
        self.held: list[Fact] = []  # deletions of versions that something in the target needs
        self.open: set[int] = set()  # made here, and deleted by an op that is still to come
        self.deletions = {f.op["version"]: f for f in self.facts if f.op["op"] == "version.delete"}
        self.is_eager = len(self.facts) > _EAGER
        self.is_aligned = self._aligned()
        self.settled = self._settled()

    def run(self) -> CollectionPlan:
        by_kind: Mapping[str, Callable[[Fact], None]] = {
            "collection.create": self._found,
            "collection.revise": self._describe,
            "version.create": self._create,
            "version.same": self._merge,
            "version.revise": self._revise,
            "version.delete": self._delete,
            "version.link": self._link,
            "version.unlink": self._link,
            "alias.move": self._move,
            "alias.protect": self._protect,
            "alias.promote": self._promote,
            "collection.policy": self._set_policy,
            "promotion.refuse": self._record,
            "approval.give": self._record,
            "approval.revoke": self._record,
            "attestation.add": self._attest,
        }
        for fact in self.facts:  # first, so that all that was said of them meanwhile finds them there
            if fact.op["op"] == "version.restore":
                self._restore(fact)
        for index, fact in enumerate(self.facts):
            if len(self.plan.ops) >= BATCH_OPS and not self.open:
                self.plan.is_complete = False
                return self.plan
            is_chained = (
                fact.op["op"] == "alias.promote"
            )  # none of them is history: each names the one before
            if is_chained or all(index > self.settled.get(key, -1) for key in subjects(fact.op)):
                say = by_kind.get(fact.op["op"])
                if say is not None:
                    say(fact)
        self._move_latest()
        self._force()
        held, self.held = self.held, []
        for fact in held:  # by an alias that has moved on since
            self._delete(fact)
        self.plan.conflicts = list(self.blocked.values())
        for number in sorted(self.final.versions):
            place = self._place(number)
            if place is not None and self._is_chosen(number):
                self.plan.numbers[number] = place
        return self.plan

    # What is known

    def _aligned(self) -> bool:
        """Whether each number of the target means the same version in the source."""
        found = self._collection()
        return found is None or all(
            self.source.creators.get((self.name, number)) == self.target.creators.get((self.name, number))
            for number in found.versions
        )

    def _settled(self) -> dict[tuple[str, str, int | None], int]:
        """Of each alias and field the index of its last op that the target has: what was said before is history."""
        found = {}
        for index, fact in enumerate(self.facts):
            if fact.origin in self.target.origins:
                for key in subjects(fact.op):
                    found[key] = index
        return found

    def _collection(self) -> CollectionState | None:
        return self.target.state.collections.get(self.name)

    def _is_chosen(self, number: int) -> bool:
        return self.rules.numbers is None or number in self.rules.numbers

    def _place(self, number: int) -> int | None:
        """The number of a version of the source in the target."""
        place = self.target.places.get(self.source.creators.get((self.name, number), ""))
        return place[1] if place is not None and place[0] == self.name else None

    def _live(self, number: int | None) -> VersionState | None:
        """The live version of the target that a version of the source is."""
        place = None if number is None else self._place(number)
        found = self._collection()
        version = found.versions.get(place) if found is not None and place is not None else None
        return None if version is None or version.deleted else version

    def _is_ours(self, *key: Any) -> bool:
        """Whether the target's last word on an alias or field was said in the source, or nobody has said one."""
        last = self.target.touched.get((self.name, *key))
        return last is None or last in self.source.origins

    def _say(self, op: Op) -> None:
        self.plan.ops.append(op)
        self.target.take(Transaction(0, f"plan-{len(self.plan.ops)}", op.get("at", ""), {}, "", [op]))

    # The ops

    def _found(self, fact: Fact) -> None:
        if self._collection() is None:
            self._say(fact.copied())

    def _describe(self, fact: Fact) -> None:
        found = self._collection()
        if found is None:
            return
        if (found.description, found.tags) == (
            fact.op["description"],
            tuple(fact.op.get("tags", found.tags)),
        ):
            return
        if self._is_ours("description", None):
            self._say(fact.copied())
        else:
            self.blocked["description"] = (
                f"artifact {self.name}: its description or tags were changed in {self.rules.where}, too; it stays"
            )

    def _create(self, fact: Fact) -> None:
        number, version = fact.op["version"], self.final.versions[fact.op["version"]]
        if not self._is_chosen(number):
            return
        place, found = self._place(number), self._collection()
        if found is None or (place is not None and not found.versions[place].absent):
            return
        same = found.by_digest.get(version.digest)
        if place is None and same is not None:
            self._say_same(fact.origin, fact, same, version)
            return
        if place is None:
            if self.is_aligned:
                self._keep_numbers(found.next_version, number)
            place = self._next()
        self.is_aligned = self.is_aligned and place == number
        self._say(self._creation(fact, place, is_dead=version.deleted))
        (self.plan.deleted if version.deleted else self.plan.created)[number] = place
        if version.deleted and self.is_eager:
            self._say(self.deletions[number].copied(version=place))
        elif version.deleted:
            self.open.add(number)

    def _next(self) -> int:
        found = self._collection()
        return 0 if found is None else found.next_version

    def _keep_numbers(self, first: int, end: int) -> None:
        for number in range(first, end):
            origin = self.source.creators[self.name, number]
            if origin in self.target.places:  # by another version with its content
                self.is_aligned = False
                return
            left = self.final.versions[number]
            op = {"op": "version.absent", "collection": self.name, "version": number, "digest": left.digest}
            self._say({**op, "origin": origin, "at": left.created_at})

    def _creation(self, fact: Fact, number: int, *, is_dead: bool) -> Op:
        op = fact.copied(version=number)
        for key in PLACES:
            op.pop(key, None)
        # Those of a dead one may be gone.
        op |= {"packs": [], "meta_packs": []} if is_dead else self.rules.places(fact.op["version"])
        run = fact.op["run"]
        if run is not None and self.rules.run(run) is None:
            op |= {"run": None, "made_by": run}
        for key in ("source", "linked_from"):
            if key in fact.op:
                del op[key]
                name = self.rules.resolve(fact.op[key])
                op["linked_from" if name.startswith(EXTERNAL) else "source"] = name
        return op

    def _merge(self, fact: Fact) -> None:
        """A version that the source knew to be one of its own."""
        version = self._live(fact.op["version"])
        if fact.origin not in self.target.places and version is not None:
            self._say(fact.copied(version=version.number))

    def _say_same(self, origin: str, fact: Fact, number: int, version: VersionState) -> None:
        same = {"op": "version.same", "collection": self.name, "version": number}
        self._say({**same, "origin": origin, "at": fact.time, "by": dict(fact.actor)})
        found = self._live(version.number)
        if found is not None and not version.deleted and not set(version.tags) <= set(found.tags):
            tags = sorted({*found.tags, *version.tags})
            self._say({"op": "version.revise", "collection": self.name, "version": number, "tags": tags})

    def _revise(self, fact: Fact) -> None:
        number = fact.op["version"]
        version = self._live(number)
        if fact.origin in self.target.origins or version is None or not self._is_chosen(number):
            return
        if self.source.creators[self.name, number] in self.target.merged:
            return  # somebody else's, with the same content: what they say of it counts
        changes: dict[str, Any] = {}
        for key in REVISED:
            if key not in fact.op:
                continue
            now = list(version.tags) if key == "tags" else getattr(version, key)
            if now == fact.op[key]:
                continue
            if self._is_ours(key, version.number):
                changes[key] = fact.op[key]
            else:
                self.blocked[f"{key} {number}"] = (
                    f"version {self.name}:v{version.number}: its {key} changed in {self.rules.where}, too; it stays"
                )
        if changes:
            kept = {key: value for key, value in fact.copied().items() if key not in REVISED}
            self._say({**kept, "version": version.number, **changes})

    def _delete(self, fact: Fact) -> None:
        number = fact.op["version"]
        version, found = self._live(number), self._collection()
        if version is None or found is None or not self._is_chosen(number):
            return
        if not self.final.versions[number].deleted:
            return  # it was restored since
        if self.source.creators[self.name, number] in self.target.merged:
            return  # somebody else's
        if number in self.open:
            self.open.discard(number)
            self._free(version.number)
            found = self.target.state.collections[self.name]
        held = [f"alias {alias}" for alias in found.aliases_of(version.number)]
        held += [f"link {link}" for link in version.links]
        self.blocked.pop(f"delete {number}", None)
        if held:
            self.held.append(fact)
            self.blocked[f"delete {number}"] = (
                f"version {self.name}:v{version.number} was deleted in the source; in {self.rules.where}"
                f" {', '.join(held)} {'needs' if len(held) == 1 else 'need'} it; it stays"
            )
        else:
            self._say(fact.copied(version=version.number))

    def _restore(self, fact: Fact) -> None:
        if fact.origin in self.target.origins:
            return
        number = fact.op["version"]
        place, found = self._place(number), self._collection()
        if self.final.versions[number].deleted or place is None or found is None:
            return
        version = found.versions[place]
        if not version.deleted or version.absent or not self._is_chosen(number):
            return
        if not self._is_ours("deleted", place):
            return  # what the target has deleted stays so
        if version.digest in found.by_digest:
            self.blocked[f"restore {number}"] = (
                f"version {self.name}:v{place} was restored in the source; in {self.rules.where}"
                f" v{found.by_digest[version.digest]} has its content; it stays deleted"
            )
            return
        places = self.rules.places(number)
        self._say(fact.copied(version=place, digest=version.digest, **places))
        self.plan.created[number] = place

    def _free(self, number: int) -> None:
        """Take off the aliases of a version that was made here to be deleted: it has no content to be pointed to."""
        for alias in self.target.state.collections[self.name].aliases_of(number):
            origin = self.target.touched[self.name, f"alias {alias}", None]
            move = {"op": "alias.move", "collection": self.name, "alias": alias, "origin": origin}
            self._say({**move, "from": number, "to": None})

    def _link(self, fact: Fact) -> None:
        place, found = self._place(fact.op["version"]), self._collection()
        version = found.versions.get(place) if found is not None and place is not None else None
        if version is None or fact.origin in self.target.origins:
            return
        link = self.rules.resolve(fact.op["target"])
        is_there = link in version.links
        if link.startswith(EXTERNAL) or is_there is (fact.op["op"] == "version.link"):
            return
        changes: dict[str, Any] = {"version": version.number, "target": link}
        if fact.op.get("run"):
            project, _, run = fact.op["run"].rpartition("/")
            changes["run"] = f"{self.rules.project(project)}/{run}"
        self._say(fact.copied(**changes))

    def _attest(self, fact: Fact) -> None:
        """What was signed stays as it was signed, and names the version by its origin and its number of then."""
        number = fact.op["version"]
        place, found = self._place(number), self._collection()
        if fact.origin in self.target.origins or place is None or found is None:
            return
        if self._is_chosen(number) and not found.versions[place].absent:
            self._say(fact.copied(version=place))

    def _move(self, fact: Fact) -> None:
        alias, to, found = fact.op["alias"], fact.op["to"], self._collection()
        if found is None or not self._may_move(alias):
            return
        version, now = self._live(to), found.aliases.get(alias)
        if to is not None and version is None:
            return
        goal = None if version is None else version.number
        if alias in found.protected:
            return  # it was moved before it was protected there, or beside promotion
        if goal == now:
            self.blocked_aliases.pop(alias, None)
        elif now is None or self._is_ours(f"alias {alias}", None):
            self._say(fact.copied(**{"from": now, "to": goal}))
            self.blocked_aliases.pop(alias, None)
        else:
            self.blocked_aliases[alias] = fact

    def _protect(self, fact: Fact) -> None:
        alias, found = fact.op["alias"], self._collection()
        if found is None or fact.origin in self.target.origins:
            return
        if (alias in found.protected) is fact.op["protected"]:
            return
        if self._is_ours(f"protection {alias}", None):
            self._say(fact.copied())
        else:
            self.blocked[f"protection {alias}"] = (
                f"alias {self.name}:{alias}: its protection was changed in {self.rules.where}, too; it stays"
            )

    def _promote(self, fact: Fact) -> None:
        """A promotion is copied as it is, or not at all: what it says is chained, and may be signed."""
        op, found = fact.op, self._collection()
        alias = op["alias"]
        if found is None or fact.origin in self.target.origins:
            return
        last = found.promoted.get(alias) or Promoted()
        version = self._live(op["to"])
        fits = (
            (last.number + 1, last.digest) == (op["number"], op["previous"])
            and (None if version is None else version.number) == op["to"]
            and found.aliases.get(alias) == op["from"]
        )
        self.blocked_aliases.pop(alias, None)
        self.blocked.pop(f"promotion {alias}", None)
        if fits:
            self._say(fact.copied())
        else:
            self.blocked[f"promotion {alias}"] = (
                f"alias {self.name}:{alias}: promotion {op['number']} (to v{op['to']}) does not follow what is in"
                f" {self.rules.where}; it stays, promote there"
            )

    def _set_policy(self, fact: Fact) -> None:
        found = self._collection()
        if found is None or fact.origin in self.target.origins:
            return
        if self._is_ours("policy", None):
            self._say(fact.copied())
        else:
            self.blocked["policy"] = (
                f"artifact {self.name}: its policy was changed in {self.rules.where}, too; it stays"
            )

    def _record(self, fact: Fact) -> None:
        """What is said of a version, and changes nothing."""
        key = "to" if "to" in fact.op else "version"
        version = self._live(fact.op[key])
        if version is not None and fact.origin not in self.target.origins and self._is_chosen(fact.op[key]):
            self._say(fact.copied(**{key: version.number}))

    def _may_move(self, alias: str) -> bool:
        """Of a part of a collection only the aliases of that part are copied."""
        final = self.final.aliases.get(alias)
        return self.rules.numbers is None or (final is not None and final in self.rules.numbers)

    def _move_latest(self) -> None:
        """``latest`` follows the newest version, whoever has moved it before."""
        found = self._collection()
        if found is None:
            return
        now, fact = found.aliases.get(LATEST), self.blocked_aliases.pop(LATEST, None)
        if fact is not None:
            # Not what was made in this transaction, but all that came from there: after a kill it is the same.
            places = [v.number for n in self.final.versions if self._is_chosen(n) and (v := self._live(n))]
            newest = max(places, default=-1)
            if now is None or newest > now:
                self._say(fact.copied(**{"from": now, "to": newest}))
        elif self.plan.created and not self._may_move(LATEST):
            newest = max(self.plan.created.values())
            if now is None or newest > now:
                move = {"op": "alias.move", "collection": self.name, "alias": LATEST}
                self._say({**move, "from": now, "to": newest})

    def _force(self) -> None:
        found = self._collection()
        for alias, fact in self.blocked_aliases.items():
            now = None if found is None else found.aliases.get(alias)
            goal = self._live(fact.op["to"])
            if self.rules.force_aliases:
                to = None if goal is None else goal.number
                self._say(fact.copied(**{"from": now, "to": to}))
            else:
                wanted = "nothing" if goal is None else f"v{goal.number}"
                self.blocked[f"alias {alias}"] = (
                    f"alias {self.name}:{alias} was moved to v{now} in {self.rules.where}, not to {wanted}; it stays"
                    f" (--force-aliases moves it)"
                )
