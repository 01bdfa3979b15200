"""Policy files: which clauses hold for which alias.

::

    description = "what goes to customers"

    [alias.production]
    require = [
      "run.accuracy >= 0.9",
      { rule = "git.clean", because = "what runs in production can be looked up" },
    ]
    rollback = ["files.pickles == 0"]   # in place of `require` when rolling back; see `Policy.rules`

    [alias."*"]                          # of every alias that has no table of its own
    require = ["version.size < 2GB"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..artifacts.decisions import LATEST
from ..artifacts.names import check_alias, nearest
from ..artifacts.protection import Kind, policy_text
from ..artifacts.state import PolicyText
from ..storage.errors import UsageError
from .expressions import Node, facts_in, parse
from .vocabulary import check

ANY = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """A clause and what it is for."""

    text: str
    tree: Node
    because: str = ""

    @property
    def compares(self) -> bool:
        """Whether it asks about the version in place."""
        return any(fact.steps[0].name == "incumbent" for fact in facts_in(self.tree))


@dataclass(frozen=True, slots=True)
class AliasRules:
    """What is required of a version for one alias."""

    require: tuple[Rule, ...]
    rollback: tuple[Rule, ...] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that was read."""

    source: PolicyText
    description: str
    aliases: Mapping[str, AliasRules]

    def rules(self, alias: str, kind: Kind = "promote") -> Sequence[Rule]:
        """The clauses for `alias`; none when the policy does not speak of it.

        When rolling back those under ``rollback``; without any, those under ``require`` that do not compare with the
        version in place, which is the one to get rid of.
        """
        found = self.aliases.get(alias) or self.aliases.get(ANY)
        if found is None:
            return ()
        if kind == "promote":
            return found.require
        if found.rollback is not None:
            return found.rollback
        return [rule for rule in found.require if not rule.compares]


def read_policy(text: str, where: str) -> Policy:
    """Read a policy file. Raises: UsageError naming `where`, the key, what was found and what was expected.

    >>> policy = read_policy('[alias.production]\\nrequire = ["run.accuracy >= 0.9"]', "policy.toml")
    >>> [rule.text for rule in policy.rules("production")]
    ['run.accuracy >= 0.9']
    """
    source = policy_text(text)
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"policy {where}: not TOML: {error}") from error
    _demand_keys(found, ("description", "alias"), f"policy {where}")
    tables = found.get("alias")
    if not isinstance(tables, dict) or not tables:
        raise UsageError(f'policy {where}: expected a table such as [alias.production] with require = ["…"]')
    description = found.get("description", "")
    if not isinstance(description, str):
        raise UsageError(f"policy {where}: description {description!r}: expected a text")
    return Policy(
        source, description, {alias: _alias(alias, table, where) for alias, table in tables.items()}
    )


def _alias(alias: str, table: Any, where: str) -> AliasRules:
    here = f"policy {where}: alias.{alias}"
    if alias != ANY and check_alias(alias) == LATEST:
        raise UsageError(
            f"{here}: {LATEST!r} follows the newest logging and is never promoted; name another alias"
        )
    if not isinstance(table, dict):
        raise UsageError(f'{here}: expected a table with require = ["…"]')
    _demand_keys(table, ("require", "rollback"), here)
    if "require" not in table:
        raise UsageError(f'{here}: expected require = ["…"]')
    rollback = _rules(table["rollback"], f"{here}.rollback") if "rollback" in table else None
    return AliasRules(_rules(table["require"], f"{here}.require"), rollback)


def _rules(given: Any, here: str) -> tuple[Rule, ...]:
    if not isinstance(given, list):
        raise UsageError(f"{here}: expected a list of clauses, found {given!r}")
    return tuple(_rule(item, f"{here}[{number}]") for number, item in enumerate(given))


def _rule(given: Any, here: str) -> Rule:
    because = ""
    if isinstance(given, dict):
        _demand_keys(given, ("rule", "because"), here)
        because = given.get("because", "")
        given = given.get("rule")
    if not isinstance(given, str) or not isinstance(because, str):
        raise UsageError(f'{here}: expected a clause in quotes, or {{ rule = "…", because = "…" }}')
    try:
        tree = parse(given)
        check(tree)
    except UsageError as error:
        raise UsageError(f"{here}: {error}") from error
    return Rule(given, tree, because)


def _demand_keys(table: Mapping[str, Any], known: Sequence[str], here: str) -> None:
    for key in table:
        if key not in known:
            raise UsageError(f"{here}: key {key!r} means nothing{nearest(key, known)}")
