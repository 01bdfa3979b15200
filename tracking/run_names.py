"""Readable names for runs that nobody named, and the labels that users give."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from ..artifacts.names import check_name
from ..storage.errors import UsageError

_ADJECTIVES = (  # noqa: SIM905 - as a list literal it is a page long
    "amber bold brisk calm clear cool crisp deep dry early even fair fast fine fresh gentle glad golden grand green"
    " happy keen kind late light lively lucid mellow mild neat noble open patient plain prime proud quick quiet rapid"
    " ready round sharp silent silver simple smart smooth solid steady still sunny swift tidy true vivid warm wide wise"
).split()
_NOUNS = (  # noqa: SIM905
    "acorn arch ash atoll aurora bay beacon birch bloom breeze brook canyon cedar cliff cloud comet coral cove creek"
    " dawn delta dune elm ember falcon fern field fjord forest glade grove harbor heron hill isle kestrel lagoon lake"
    " lark leaf maple marsh meadow mesa moon moss oak orchid otter peak pebble pine plain pond prairie rain reef ridge"
    " river sage shore sky spruce star stone stream summit thicket tide trail valley wave willow wind wren"
).split()


def readable_name() -> str:
    """A name such as ``quiet-river-417``: random, for people; the run's id is what is unique."""
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{secrets.randbelow(900) + 100}"


def checked_tags(tags: Any) -> tuple[str, ...]:
    """`tags` without doubles. Raises: UsageError for what is no list, InvalidNameError for what cannot be a tag."""
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise UsageError(f"tags {tags!r}: expected a list such as ['baseline'], not {type(tags).__name__}")
    return tuple(dict.fromkeys(check_name(tag, "tag") for tag in tags))
