"""Whether what a run has measured is said of a version that it used. Pure.

The metrics of a run are the run's. They say something of a model that the run used when there is nothing else that they
could be about: the run ended well, it made neither a model (whose metrics they would be) nor data (it measured what it
made), and of the models that it used this one alone was not only there to be compared with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .kinds import is_dataset, is_model, is_table, is_tokenizer

_COMPARED = (
    "base",
    "incumbent",
    "previous",
    "reference",
)  # how roles of models begin that others are compared with


@dataclass(frozen=True, slots=True)
class UsedVersion:
    """A version that a run used. `content`, its digest or, of an unknown one, its full name, is the same for links."""

    content: str
    type: str
    role: str | None


def is_evaluation(content: str, state: str, used: Iterable[UsedVersion], made: Iterable[str]) -> bool:
    """Whether the metrics of a run are about the version with this content, that it used.

    `state` is the run's, `used` are all versions that it used, `made` the types of all that it logged. Of several
    models it is about the only one whose role does not begin with baseline (or base), reference, incumbent or
    previous; a tokenizer beside a model is none.

    >>> new, old = UsedVersion("new", "model", "candidate"), UsedVersion("old", "model", "baseline")
    >>> [is_evaluation(content, "finished", [new, old], []) for content in ("new", "old")]
    [True, False]
    """
    every = list(used)
    own = next((version.type for version in every if version.content == content), None)
    if own is None or state != "finished" or any(map(_is_measured_itself, made)):
        return False
    roles: dict[str, set[str]] = {}
    for version in every:
        if version.content == content or _is_rival(version.type, own):
            roles.setdefault(version.content, set()).add((version.role or "").lower())
    judged = [name for name, said in roles.items() if not all(role.startswith(_COMPARED) for role in said)]
    return len(roles) == 1 or judged == [content]


def _is_measured_itself(kind: str) -> bool:
    """Whether metrics of the run that made such a version are about it; a table is as likely a result."""
    return is_model(kind) or (is_dataset(kind) and not is_table(kind))


def _is_rival(kind: str, own: str) -> bool:
    """Whether metrics could be about a version of the one type as well as about one of the other."""
    if is_tokenizer(kind) and not is_tokenizer(own):
        return False
    return is_model(kind) or (kind == own and not is_dataset(kind))
