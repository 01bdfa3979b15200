"""Which versions are to be kept: pure decisions from rules and what is known of the versions."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..storage.errors import NotFoundError, UsageError
from ..storage.transaction import GENESIS, Op, Transaction
from .decisions import LATEST, decide_deletion
from .names import ArtifactName
from .state import CollectionState, ProjectState, VersionState, apply


@dataclass(frozen=True, slots=True)
class Best:
    """The wish to keep the version with the greatest or the least value of a metric."""

    metric: str
    order: Literal["max", "min"] = "max"


@dataclass(frozen=True, slots=True)
class Rules:
    """What keeps a version. `expired` alone deletes nothing but what its time to live has run out for."""

    last: int | None = None  # the newest so many of a collection
    aliased: bool = False  # an alias points to it, `latest` counts
    used: bool = False  # a run has used it, or something was made from it
    best: Sequence[Best] = ()
    younger_than_s: float | None = None
    expired: bool = False
    delete_aliases: bool = False  # named aliases do not keep it

    @property
    def keeps(self) -> bool:
        """Whether there is a rule that keeps something, so that the rest is to go."""
        return (
            self.last is not None
            or self.aliased
            or self.used
            or bool(self.best)
            or self.younger_than_s is not None
        )

    def check(self) -> None:
        """Raises: UsageError when no rule is there: all versions would go."""
        if not self.keeps and not self.expired:
            raise UsageError(
                "prune without a rule would delete everything; say what to keep, for example --keep-last 3"
            )


@dataclass(frozen=True, slots=True)
class Known:
    """What the log does not fold: which versions were used, and the metrics of each, by number."""

    used: frozenset[int] = frozenset()
    metrics: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a version is kept, and by what."""

    version: VersionState
    aliases: tuple[str, ...]
    keep: bool
    reason: str


def decide_retention(
    collection: CollectionState, rules: Rules, known: Known, *, now: datetime.datetime
) -> list[Verdict]:
    """A verdict for each live version, the oldest first.

    Links and named aliases keep a version whatever the rules say. A time to live that has run out goes before the
    rules. Raises: UsageError without a rule.
    """
    rules.check()
    versions = collection.live()
    last = {v.number for v in versions[-rules.last :]} if rules.last else set[int]()
    best = {number: rule for rule in rules.best for number in _best(versions, rule, known)}
    found = []
    for version in versions:
        aliases = collection.aliases_of(version.number)
        named = [alias for alias in aliases if alias != LATEST]
        why = [
            *(f"alias {alias}" for alias in named if rules.aliased or not rules.delete_aliases),
            *(f"linked as {link}" for link in version.links),
        ]
        if why:
            found.append(Verdict(version, aliases, True, "; ".join(why)))
            continue
        ended = _ended(version, now)
        if ended is not None:
            found.append(Verdict(version, aliases, False, f"its time to live ended on {ended:%Y-%m-%d}"))
            continue
        if not rules.keeps:
            found.append(Verdict(version, aliases, True, "its time to live has not ended"))
            continue
        if version.number in last:
            why.append(f"one of the last {rules.last}")
        if rules.aliased and LATEST in aliases:
            why.append("alias latest")
        if rules.used and version.number in known.used:
            why.append("used")
        if version.number in best:
            rule = best[version.number]
            why.append(f"{rule.order} {rule.metric}")
        age_s = (now - datetime.datetime.fromisoformat(version.created_at)).total_seconds()
        if rules.younger_than_s is not None and age_s < rules.younger_than_s:
            why.append("young")
        found.append(Verdict(version, aliases, bool(why), "; ".join(why) or "no rule keeps it"))
    return found


def _best(versions: Sequence[VersionState], rule: Best, known: Known) -> list[int]:
    """The version that a metric is best of; of several the newest, none when nothing has the metric."""
    sign = 1 if rule.order == "max" else -1
    ranked = [
        (sign * value, version.number)
        for version in versions
        if not math.isnan(value := known.metrics.get(version.number, {}).get(rule.metric, math.nan))
    ]
    return [max(ranked)[1]] if ranked else []


def _ended(version: VersionState, now: datetime.datetime) -> datetime.datetime | None:
    """When the time to live of a version has ended, None when it has not."""
    if version.ttl_s is None:
        return None
    created = datetime.datetime.fromisoformat(version.created_at)
    try:
        end = created + datetime.timedelta(seconds=version.ttl_s)
    except OverflowError:
        return None
    return end if end <= now else None


def decide_pruning(state: ProjectState, verdicts: Mapping[ArtifactName, Verdict], rules: Rules) -> list[Op]:
    """Ops that delete what the verdicts say, as far as nothing has happened to it since.

    A version that was deleted, or got an alias or a link meanwhile, is left as it is.
    """
    ops: list[Op] = []
    for name, verdict in verdicts.items():
        collection = state.collections[name.collection]
        if verdict.keep or not _is_as_it_was(collection, verdict):
            continue
        try:
            more = decide_deletion(
                state, name, delete_aliases=rules.delete_aliases, reason=f"prune: {verdict.reason}"
            )
        except (NotFoundError, UsageError):
            continue  # deleted by somebody else, or linked now
        state = apply(state, Transaction(0, "", "", {}, GENESIS, more))
        ops += more
    return ops


def _is_as_it_was(collection: CollectionState, verdict: Verdict) -> bool:
    """Whether no alias has come to the version since; `latest` does when a newer one is deleted beside it."""
    now = set(collection.aliases_of(verdict.version.number)) - {LATEST}
    return now <= set(verdict.aliases)
