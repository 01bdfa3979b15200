"""`art promote`, `approve`, `rollback`, `protect` and `registry`."""

from __future__ import annotations

from pathlib import Path

import pytest

POLICY = """
description = "what customers get"
[alias.production]
require = [
  "run.accuracy >= 0.84",
  { rule = "run.accuracy >= incumbent.run.accuracy", because = "no step back" },
]
"""


@pytest.fixture
def churn(art, digits: Path) -> str:
    """A registered model with three versions, a protected alias and a policy."""
    art("registry", "create", "churn", "--protect", "production", "-d", "who leaves")
    Path("policy.toml").write_text(POLICY)
    art("registry", "policy", "set", "policy.toml", "churn")
    for number in range(3):
        art("link", f"classifier:v{number}", "model-registry/churn")
    return "churn"


def test_promotion_says_what_decided_it(churn: str, art) -> None:
    answer = art("promote", "churn:v1", "--to", "production", "-m", "first")
    assert answer.lines[-1] == "churn:production → v1 (new), promotion 1"
    assert answer.rows[0] == ["pass", "run.accuracy", ">=", "0.84"]
    answer = art("promote", "churn:v0", "--to", "production", status=1)
    found = "run.accuracy = 0.8; incumbent.run.accuracy = 0.85"
    assert answer.lines[1:] == [
        "fail     run.accuracy >= 0.84  ·  run.accuracy = 0.8",
        f"fail     run.accuracy >= incumbent.run.accuracy  ·  {found}  (no step back)",
        "refused: churn:production stays at v1; 2 of 2 clauses fail",
    ]
    assert "would go to v2 (was v1)" in art("promote", "churn:v2", "--to", "production", "--dry-run").out
    answer = art("promote", "churn:v2", "--to", "production", "--expect", "v1", "--explain")
    assert "run.accuracy = 0.9; incumbent.run.accuracy = 0.85" in answer.out
    assert "points to v2 already" in art("promote", "churn:v2", "--to", "production").out
    assert "expected v1" in art("promote", "churn:v1", "--to", "production", "--expect", "v1", status=1).err
    answer = art("rollback", "churn", "production", "-m", "bad in the wild")
    assert answer.lines[-1] == "churn:production → v1 (was v2), promotion 3"
    found = art("registry", "log", "churn", "--json").json
    assert [(row["number"], row["kind"], row["verdict"], row["to_version"]) for row in found] == [
        (3, "rollback", "pass", "v1"),
        (2, "promote", "pass", "v2"),
        (None, "promote", "fail", "v0"),
        (1, "promote", "pass", "v1"),
    ]
    shown = art("registry", "log", "churn", "--alias", "production").out
    assert "“bad in the wild”" in shown
    assert "run.accuracy = 0.8" in shown
    events = [row["event"] for row in art("log", "model-registry/churn", "--json").json]
    assert (events.count("promoted"), events.count("refused"), events.count("protected")) == (3, 1, 1)
    assert "production → v0 refused: fail" in art("log", "model-registry/churn").out


def test_what_cannot_be_decided_has_its_own_status(churn: str, art) -> None:
    Path("policy.toml").write_text('[alias.production]\nrequire = ["run.recall > 0.5"]')
    art("registry", "policy", "set", "policy.toml", "churn")
    answer = art("promote", "churn:v2", "--to", "production", status=2)
    assert "recall is not in the summary" in answer.out
    assert "undecided: churn:production still points nowhere; 1 of 1 clauses cannot be decided" in answer.out
    found = art("promote", "churn:v2", "--to", "production", "--dry-run", "--json", status=2).json
    assert (found["verdict"], found["recorded"], found["from"], found["to"]) == (
        "undecided",
        False,
        None,
        "v2",
    )
    assert found["clauses"][0]["clause"] == "run.recall > 0.5"


@pytest.mark.parametrize(
    "arguments",
    [
        ["alias", "model-registry/churn:v2", "production"],
        ["alias", "model-registry/churn", "production", "--delete"],
        ["link", "classifier:v0", "model-registry/churn", "-a", "production"],
        ["rm", "model-registry/churn:v1", "--delete-aliases", "--yes"],
    ],
)
def test_protected_alias_moves_without_promotion(arguments: list[str], churn: str, art) -> None:
    art("promote", "churn:v1", "--to", "production")
    assert "protected" in art(*arguments, status=2).err
    assert art("registry", "show", "churn", "--json").json["aliases"]["production"] == "v1"
    art("protect", "churn", "production", "--off", "-m", "moving house")
    art("alias", "model-registry/churn:v2", "production")


def test_promotion_links_first(churn: str, art) -> None:
    answer = art("promote", "images:v1", "--in", "data-registry/golden", "--to", "current")
    assert answer.out == (
        "golden:current → v0 (new), promotion 1\n"
        "no policy says anything about current: nothing was asked of this version\n"
    )
    assert [row["name"] for row in art("registry", "ls", "--registry", "data-registry", "--json").json] == [
        "default/data-registry/golden"
    ]


def test_dry_run_links_the_version(art, digits: Path) -> None:
    arguments = ("promote", "classifier:v1", "--in", "model-registry/fresh", "--to", "production")
    Path("policy.toml").write_text(POLICY)
    judged = art(*arguments, "--policy", "policy.toml", "--dry-run", "--json").json
    assert (judged["name"], judged["to"], judged["recorded"]) == (
        "default/model-registry/fresh:v0",
        "v0",
        False,
    )
    assert judged["clauses"][0]["values"] == "run.accuracy = 0.85"
    assert art("registry", "ls", "--json").json == []
    assert art("show", "classifier:v1", "--json").json["name"].endswith("classifier:v1")
    art(*arguments)
    before = art("log", "model-registry/fresh").out
    other = ("promote", "classifier:v2", "--in", "model-registry/fresh", "--to", "production", "--dry-run")
    assert "fresh:production would go to v1 (was v0)" in art(*other).out
    assert "fresh:production points to v0 already" in art(*arguments, "--dry-run").out
    assert (
        "has type 'model', not 'dataset'"
        in art("promote", "images:v0", "--in", "model-registry/fresh", "--to", "x", "--dry-run", status=2).err
    )
    assert art("log", "model-registry/fresh").out == before


def test_approvals_are_given_and_taken_back(churn: str, art) -> None:
    art("approve", "churn:v1", "--to", "production", "-m", "looked at it")
    answer = art("approve", "churn:v1", "--to", "production", "--json")
    assert len(answer.json["approvals"]) == 2
    assert answer.json["approvals"][0]["comment"] == "looked at it"
    assert "by nobody" in art("approve", "churn:v1", "--to", "production", "--revoke").out
    assert "v1 approved for production (looked at it)" in art("log", "model-registry/churn").out


def test_author_is_not_told_that_the_own_approval_does_not_count(
    churn: str, art, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "the author's own approval does not count" in art("approve", "churn:v1", "--to", "production").err
    monkeypatch.setenv("LOGNAME", "someone-else")
    answer = art("approve", "churn:v2", "--to", "production")
    assert (answer.err, "by someone-else" in answer.out) == ("", True)


def test_model_is_shown_without_its_tags(churn: str, art) -> None:
    made = art("registry", "create", "churn", "--tag", "risk", "--tag", "audited", "--json").json
    assert (made["tags"], made["protected"]) == (["audited", "risk"], ["production"])
    assert "tags: audited, risk" in art("registry", "show", "churn").out
    assert art("registry", "show", "churn", "--json").json["description"] == "who leaves"
    assert [model["tags"] for model in art("registry", "ls", "--json").json] == [["audited", "risk"]]


def test_names_of_the_registry_mean_something_in_the_project(art, digits: Path) -> None:
    """A registered model may have the name of an artifact: what is said of the registry is said of the model."""
    art("registry", "create", "classifier", "--protect", "production")
    Path("policy.toml").write_text('[alias.production]\nrequire = ["run.accuracy > 2"]')
    assert "model-registry/classifier" in art("registry", "policy", "set", "policy.toml", "classifier").out
    answer = art("promote", "classifier:v1", "--in", "classifier", "--to", "production", status=1)
    assert "refused: classifier:production still points nowhere" in answer.out
    assert art("registry", "show", "classifier", "--json").json["name"] == "default/model-registry/classifier"


def test_rollback_takes_a_word_for_a_version_or_an_older_state(churn: str, art) -> None:
    art("promote", "churn:v1", "--to", "production")
    art("promote", "churn:v2", "--to", "production")
    for word in ("none", "7"):
        answer = art("rollback", "churn", "production", "--to", word, status=2)
        assert f"--to '{word}': expected a version such as v7" in answer.err
    answer = art("rollback", "churn", "production", "--expect", "v1", status=1)
    assert "points to v2, expected v1" in answer.err
    answer = art("rollback", "churn", "production", "--to", "v0", status=2)
    assert "v0 of 'churn' was never promoted to 'production'" in answer.err
    assert "→ v1 (was v2)" in art("rollback", "churn", "production", "--expect", "v2").out


def test_policy_that_says_nothing_is_set_in_silence(art, digits: Path) -> None:
    art("registry", "create", "churn")
    Path("policy.toml").write_bytes(b"\xef\xbb\xbf" + POLICY.encode())  # as some editors begin a file
    answer = art("registry", "policy", "set", "policy.toml", "churn")
    assert "production of default/model-registry/churn is not protected" in answer.err
    art("protect", "model-registry/churn", "production")
    assert art("registry", "policy", "set", "policy.toml", "churn").err == ""
    Path("policy.toml").write_text("[alias.latest]\nrequire = []")
    answer = art("registry", "policy", "set", "policy.toml", "churn", status=2)
    assert "'latest' follows the newest logging and is never promoted" in answer.err


def test_registry_shows_models_policies_and_protection(churn: str, art) -> None:
    assert art("registry", "ls").rows == [
        ["churn", "model", "3", "latest=v2", art("registry", "ls", "--json").json[0]["policy"][:12]]
    ]
    shown = art("registry", "show", "churn").out
    assert "who leaves" in shown
    assert "production → nothing yet, protected" in shown
    assert art("registry", "policy", "show", "churn").out == POLICY
    assert "as before" in art("registry", "policy", "set", "policy.toml", "churn").out
    checked = art("registry", "policy", "check", "policy.toml").out
    assert "production require: run.accuracy >= incumbent.run.accuracy  (no step back)" in checked
    art("registry", "policy", "set", "policy.toml")
    assert art("registry", "policy", "show").out == POLICY
    assert "taken off" in art("registry", "policy", "unset", "churn").out
    assert "has no policy" in art("registry", "policy", "show", "churn", status=1).err
    assert "types: model" in art("registry", "configure", "-t", "model", "-d", "for all").out
    assert "takes model only" in art("link", "images:v0", "model-registry/images", status=2).err
    assert "types: all" in art("registry", "configure", "--any-type").out


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["promote", "churn:v9", "--to", "production"], 1, "has no v9"),
        (["promote", "churn:v1", "--to", "v7"], 2, "alias 'v7'"),
        (
            ["promote", "churn:v1", "--to", "production", "--policy", "bad.toml"],
            2,
            "bad.toml: alias.x.require[0]",
        ),
        (["promote", "churn:v1", "--to", "production", "--expect", "7"], 2, "expected a version such as v7"),
        (["rollback", "churn", "production"], 1, "has no alias 'production'"),
        (["rollback", "nothing", "production"], 1, "'nothing' does not exist"),
        (["protect", "churn", "latest"], 2, "cannot be protected"),
        (["protect", "nothing", "production"], 1, "'nothing' does not exist"),
        (["registry", "policy", "set", "bad.toml", "churn"], 2, "there is no fact 'rum.accuracy'"),
        (["registry", "policy", "set"], 2, "Missing argument 'FILE'"),
        (["registry", "show", "nothing"], 1, "'nothing' does not exist"),
        (["registry", "create", "a b"], 2, "artifact name 'a b'"),
        (["registry", "create", "churn", "-t", "dataset"], 2, "has type 'model', not 'dataset'"),
    ],
)
def test_mistakes_change_something(arguments: list[str], status: int, message: str, churn: str, art) -> None:
    Path("bad.toml").write_text('[alias.x]\nrequire = ["rum.accuracy > 1"]')
    before = art("log", "model-registry/churn").out
    assert message in art(*arguments, status=status).err
    assert art("log", "model-registry/churn").out == before


def test_past_of_an_alias_is_the_one_that_was_forged(churn: str, art) -> None:
    from lineart.tracking import Workspace, find_settings

    art("promote", "churn:v1", "--to", "production")
    workspace = Workspace.open(find_settings(project="model-registry"))
    forged = {"op": "alias.move", "collection": "churn", "alias": "production", "from": 1, "to": 0}
    workspace.project().commit(lambda state: [forged])
    for arguments in (["show", "model-registry/churn:production"],) * 2:
        assert art(*arguments, "--json").json["version"] == "v1"
    assert (
        art("show", "model-registry/churn:production", "--at", "2100-01-01", "--json").json["version"] == "v1"
    )
    assert art(
        "sql", "select version from aliases where alias = 'production' and collection = 'churn'", "--json"
    ).json == [{"version": 1}]
    shown = art("registry", "show", "churn").out
    assert "ignored: transaction" in shown
    assert "production → v0 by" in shown
    assert "production → v0 ignored" in art("log", "model-registry/churn").out
