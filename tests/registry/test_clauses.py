"""The language of policies: what is read, what it comes to, what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineart.registry.expressions import MAX_DEPTH, MAX_LENGTH, Fact, parse
from lineart.registry.judging import Found, Missing, NoIncumbent, judge
from lineart.registry.policy import read_policy
from lineart.registry.vocabulary import WORDS, check
from lineart.storage.errors import UsageError

KNOWN: dict[str, Any] = {
    "run.accuracy": 0.91,
    "run.nan": math.nan,
    "run.inf": math.inf,
    "run.name": "first",
    "git.clean": True,
    "version.tags": ["gold", "reviewed"],
    "version.size": 1500,
    "approvals": 1,
}


def look(fact: Fact, arguments: Sequence[Found]) -> Found:
    if fact.steps[0].name == "incumbent":
        raise NoIncumbent
    if fact.text.startswith("lineage.tagged"):
        return float(arguments[0] == "bad")
    found: Found = KNOWN.get(fact.text, Missing("not there"))
    return found


def verdict(text: str) -> str:
    return judge(text, parse(text), look).verdict


@pytest.mark.parametrize(
    "text, expected",
    [
        ("run.accuracy >= 0.9", "pass"),
        ("run.accuracy >= 92%", "fail"),
        ("0.9 <= run.accuracy < 1", "pass"),
        ("0.9 <= run.accuracy < 0.91", "fail"),
        ("run.accuracy - 0.01 * 2 >= .89", "pass"),
        ("-run.accuracy < 0 and not git.clean == false", "pass"),
        ("not git.clean", "fail"),
        ("git.clean", "pass"),
        ("version.size <= 1.5kB", "pass"),
        ("version.size < 1GB or run.missing > 1", "pass"),
        ("run.missing > 1", "undecided"),
        ("run.missing > 1 and git.clean", "undecided"),
        ("run.missing > 1 and not git.clean", "fail"),
        ("not (run.missing > 1)", "undecided"),
        ("run.nan > 0", "undecided"),
        ("not run.nan > 0", "undecided"),
        ("run.nan == run.nan", "undecided"),
        ("run.nan != 0", "undecided"),
        ("run.inf > 3", "pass"),
        ("run.inf - run.inf <= 0", "undecided"),
        ("run.accuracy != '0.91'", "undecided"),
        ("git.clean == 1", "undecided"),
        ("git.clean in [1, 2]", "undecided"),
        ("run.accuracy not in ['a', 'b']", "undecided"),
        ("version.tags == 'gold'", "undecided"),
        ("'gold' in version.tags", "pass"),
        ("['gold', 'bad'] in version.tags", "fail"),
        ("'bad' not in version.tags", "pass"),
        ("version.tags not in ['gold', 'bad']", "fail"),
        ("version.tags not in ['bad', 'worse']", "pass"),
        ("['bad', 'gold'] not in version.tags", "fail"),
        ("run.name in ['first', 'second']", "pass"),
        ("'irs' in run.name", "pass"),
        ("run.name < 3", "undecided"),
        ("run.name + 1 > 3", "undecided"),
        ("run.accuracy / 0 > 1", "undecided"),
        ("run.accuracy", "undecided"),
        ("run.accuracy and git.clean", "undecided"),
        ("approvals >= 2", "fail"),
        ('lineage.tagged("bad") == 0', "fail"),
        ('lineage.tagged("good") == 0', "pass"),
        # Nothing is in place yet: the comparison holds, and nothing beside it.
        ("run.accuracy >= incumbent.run.accuracy", "pass"),
        ("run.accuracy >= 2 and run.accuracy >= incumbent.run.accuracy", "fail"),
        ("not (run.accuracy >= incumbent.run.accuracy)", "fail"),
        ("0.99 <= run.accuracy >= incumbent.run.accuracy", "fail"),
        ("incumbent.run.accuracy <= run.accuracy < 1", "pass"),
        ("incumbent.run.accuracy <= run.missing <= 1", "undecided"),
        ("incumbent.config.flag", "pass"),
        ("-incumbent.run.accuracy", "pass"),
    ],
)
def test_clause_is_judged_wrongly(text: str, expected: str) -> None:
    assert verdict(text) == expected


def test_values_of_all_facts_are_told_also_of_those_that_did_not_matter() -> None:
    text = 'run.accuracy >= 2 and run.missing < 1 and lineage.tagged("bad") == 0'
    assert judge(text, parse(text), look).values == (
        'run.accuracy = 0.91; run.missing = unknown (not there); lineage.tagged("bad") = 1'
    )
    text = "run.accuracy >= incumbent.run.accuracy"
    assert "incumbent.run.accuracy = none, nothing is in place yet" in judge(text, parse(text), look).values


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "expected a value, found its end"),
        ("run.accuracy >=", "expected a value, found its end"),
        ("run.accuracy >= 0.9 0.8", "expected an operator, or the end, found '0.8' at 21"),
        ("run.accuracy = 0.9", "'= 0.9' at 14 is no part of one"),
        ("(run.a > 1", "expected ')', found its end"),
        ("run.", "expected a name"),
        ("run[accuracy] > 1", "expected a name in quotes"),
        ("eval('a')('b').c > 1", "expected '.'"),
        ("__import__('os').system('true')", "no fact"),
        ("run.a > 1; true", "';"),
        ("lambda x: x", "': x' at 9 is no part of one"),
        ("7days > 1", "expected an operator"),
        ("rum.accuracy > 1", "there is no fact 'rum.accuracy'; did you mean 'run'"),
        ("lineage.untraked == 0", "did you mean 'untracked'"),
        ("lineage.tagged == 0", "needs something in brackets"),
        ("lineage.tagged('a', 'b') == 0", "takes one, not 2"),
        ("lineage == 0", "expected lineage.inputs"),
        ("git.clean.now", "nothing can follow git.clean"),
        ("run.accuracy('x') > 1", "is no function"),
        (
            "lineage.tagged(5) == 0",
            'expected texts in the brackets of lineage.tagged, as lineage.tagged("a")',
        ),
        ("lineage.tagged(['a', 'b']) == 0", "expected texts in the brackets"),
        ("files(['*.txt']) == 0", "expected texts in the brackets of files"),
        ("approvals.by(['ada']) == 1", "expected texts in the brackets of approvals.by"),
        ("eval(true).accuracy > 1", "expected texts in the brackets of eval"),
        ("age(3) > 1", "expected age(run)"),
        ("age(run.accuracy) > 1", "expected age(run)"),
        ("incumbent > 1", "expected incumbent.exists"),
        ("incumbent.lineage.inputs > 1", "there is no fact"),
        ("reproducible.now", "nothing can follow"),
        ("x" * (MAX_LENGTH + 1), "characters, at most"),
        ("(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1), "nested more than"),
        ("not " * (MAX_DEPTH + 1) + "git.clean", "nested more than"),
        ("-" * (MAX_DEPTH + 1) + "1 > 0", "nested more than"),
    ],
)
def test_clause_that_is_none_is_accepted(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(parse(text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_form_of_the_documentation_is_refused() -> None:
    for word in WORDS:
        for form in word.form.split(", "):
            if "…" not in form and form not in ('approvals.by("ada"', '"ben")'):
                check(parse(form))


@given(st.text(max_size=60) | st.text(alphabet="run.a()[]\"'<>=+-*/ andotin0123456789,%dkB", max_size=60))
def test_text_breaks_the_reader(text: str) -> None:
    try:
        tree = parse(text)
        check(tree)
    except UsageError:
        return
    assert judge(text, tree, look).verdict in ("pass", "fail", "undecided")


# Policy files

GOOD = """
description = "for customers"
[alias.production]
require = ["run.accuracy >= 0.9", { rule = "run.accuracy >= incumbent.run.accuracy", because = "no step back" }]
[alias."*"]
require = ["version.size < 1GB"]
[alias.staging]
require = []
rollback = ["git.clean"]
"""


def test_rules_of_an_alias_are_those_of_another() -> None:
    policy = read_policy(GOOD, "p.toml")
    texts = {
        (alias, kind): [rule.text for rule in policy.rules(alias, kind)]
        for alias in ("production", "staging", "canary")
        for kind in ("promote", "rollback")
    }
    assert texts == {
        ("production", "promote"): ["run.accuracy >= 0.9", "run.accuracy >= incumbent.run.accuracy"],
        ("production", "rollback"): ["run.accuracy >= 0.9"],  # what it compares with is to be got rid of
        ("staging", "promote"): [],
        ("staging", "rollback"): ["git.clean"],
        ("canary", "promote"): ["version.size < 1GB"],
        ("canary", "rollback"): ["version.size < 1GB"],
    }
    assert policy.rules("production")[1].because == "no step back"


@pytest.mark.parametrize(
    "text, message",
    [
        ("[alias.production", "not TOML"),
        ("", "expected a table such as [alias.production]"),
        ("alias = 3", "expected a table such as [alias.production]"),
        ('alais.x.require = ["git.clean"]', "key 'alais' means nothing; did you mean 'alias'"),
        ("[alias.production]", 'expected require = ["…"]'),
        ('[alias.production]\nrequire = "git.clean"', "expected a list of clauses"),
        ("[alias.production]\nrequire = [3]", "require[0]: expected a clause in quotes"),
        ('[alias.production]\nrequire = ["git.clean", "git.cleen"]', "require[1]: policy: there is no fact"),
        (
            '[alias.production]\nrequires = ["git.clean"]',
            "key 'requires' means nothing; did you mean 'require'",
        ),
        ('[alias.v7]\nrequire = ["git.clean"]', "alias 'v7'"),
        ('[alias.production]\nrequire = [{ rul = "git.clean" }]', "key 'rul' means nothing"),
        (f"description = '{'x' * 70_000}'", "at most 65,536 are allowed"),
        ("description = 3\n[alias.a]\nrequire = []", "description 3: expected a text"),
    ],
)
def test_policy_with_a_mistake_is_accepted(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_policy(text, "p.toml")
    assert message in str(caught.value)
