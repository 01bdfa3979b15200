"""Promotion of real versions by real runs: what is counted, who wins, what readers see."""

from __future__ import annotations

import contextlib
import gzip
import lzma
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lineart
import s3server
from lineart.artifacts import ArtifactName, ProjectName
from lineart.artifacts.state import promotion_digest
from lineart.registry.policy import read_policy
from lineart.storage.errors import (
    CommError,
    ConflictError,
    UsageError,
)
from lineart.tracking import Workspace, find_settings, promoting
from lineart.tracking.promoting import Wish, approve, promote, protect, revoke_approvals
from lineart.tracking.registry_verification import audit_registry
from lineart.tracking.transfer import Choice, copy
from registered_models import clauses, dataset, evaluate, judged, opened, opened_at, policy, run_art, train

MODEL = ArtifactName(ProjectName("default", "model-registry"), "churn")


@pytest.fixture(scope="module")
def server() -> Iterator[s3server.S3Server]:
    with s3server.moto() as running:
        yield running


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # in no repository
    opened().close()


def test_best_is_refused_or_worse_is_promoted() -> None:
    registry = lineart.Api().registry
    good, worse = train(0.9), train(0.8)
    rule = "run.accuracy >= incumbent.run.accuracy - 0.002"
    registry().set_policy(policy(rule, "run.accuracy >= 0.5"), "churn")
    registry().collection("churn").protect("production")
    first = good.promote("production")
    assert (bool(first), first.number, first.before, first.after) == (True, 1, None, "v0")
    refused = worse.promote("production", reason="try")
    assert not refused
    assert refused.number is None
    assert clauses(refused)[rule] == ("fail", "run.accuracy = 0.8; incumbent.run.accuracy = 0.9")
    better = train(0.95)
    assert better.promote("production").number == 2
    assert lineart.Api().artifact("model-registry/churn:production").version == "v2"
    back = registry().collection("churn").rollback("production", reason="worse in the wild")
    assert (back.kind, back.after, back.number) == ("rollback", "v0", 3)
    assert [row[0] for row in lineart.Api().sql(
        "SELECT verdict FROM promotions ORDER BY position").fetchall()] == ["pass", "fail", "pass", "pass"]  # fmt: skip


def test_evaluation_is_taken_from_another_dataset_or_an_older_run() -> None:
    dataset("golden", "a\n1\n")
    dataset("golden", "a\n2\n")
    model = train(0.9)
    rule = 'eval("golden:v0").accuracy >= 0.8'
    assert judged(model, rule)[0] == "undecided"
    evaluate(model, "golden:v1", accuracy=0.99)
    assert judged(model, rule) == (
        "undecided",
        'eval("golden:v0").accuracy = unknown (no finished run used it with golden:v0)',
    )
    evaluate(model.source_artifact, "golden:v0", accuracy=0.7)
    assert judged(model, rule)[0] == "fail"
    evaluate(model, "golden:v0", accuracy=0.85)
    assert judged(model, rule) == ("pass", 'eval("golden:v0").accuracy = 0.85')
    assert judged(model, 'age(eval("golden:v0")) < 1h')[0] == "pass"
    assert judged(model, 'eval("nothing:v0").accuracy > 0')[0] == "undecided"
    assert judged(model, 'eval("golden:v0").recall > 0')[0] == "undecided"
    other = train(0.91)
    assert judged(other, 'eval("golden:v0").accuracy >= 0.8')[0] == "undecided"


def test_score_of_another_model_counts() -> None:
    dataset("golden", "a\n1\n")
    old, new = train(0.8), train(0.9)
    with lineart.init(project="churn", job_type="evaluate") as run:
        run.use_artifact(new, role="candidate")
        run.use_artifact(old, role="baseline")
        run.use_artifact("golden:v0")
        run.log({"f1": 0.97, "seen": 2**70})
    rule = 'eval("golden:v0").f1 >= 0.9'
    assert judged(new, rule) == ("pass", 'eval("golden:v0").f1 = 0.97')
    assert judged(new, 'eval("golden:v0").seen > 1e20')[0] == "pass"
    verdict, values = judged(old, rule)
    assert (verdict, "made or compared with something else" in values) == ("undecided", True)


@pytest.mark.parametrize(
    "rule, verdict, values",
    [
        ('run["val/loss"] < 0.3', "pass", "0.25"),
        ("run.nothing > 0", "undecided", "nothing is not in the summary"),
        ("run.state == 'finished' and run.job_type == 'train'", "pass", "finished"),
        ("config.depth == 3", "pass", "3"),
        ("config.width == 3", "undecided", "width is not in the config"),
        ("age(run) < 1h and age(version) < 1h", "pass", ""),
        ("age(run) > 1h", "fail", ""),
        ("version.type == 'model' and version.files == 1 and version.size < 1kB", "pass", "model"),
        ("version.metadata.framework == 'none'", "pass", "none"),
        ("'latest' in version.aliases", "pass", "[latest]"),
        ("'gold' in version.tags", "fail", "[]"),
        ("files('*.json') == 1 and files('*.bin') == 0", "pass", ""),
        ("files.types in ['.json', '.txt'] and files == 1", "pass", "[.json]"),
        ("files.pickles == 0", "pass", "0"),
        ("lineage.inputs == 1 and lineage.upstream == 1 and lineage.missing == 0", "pass", ""),
        ("lineage.deleted == 0 and lineage.changed == 0", "pass", ""),
        ("lineage.untracked == 0", "undecided", "nobody has observed what run"),
        ("lineage.unobserved == 2", "pass", ""),
        ("lineage.tagged('raw') == 0", "pass", "0"),
        ("git.clean", "fail", "false"),
        ("reproducible", "fail", "false"),
        ("incumbent.exists", "fail", "false"),
        ("approvals == 0 and approvals.by('ada') == 0", "pass", ""),
    ],
)
def test_fact_of_a_version_is_another(rule: str, verdict: str, values: str) -> None:
    dataset("data", "a\n1\n")
    model = train(0.9, None, **{"val/loss": 0.25})
    found = judged(model, rule)
    assert found[0] == verdict, found
    assert values in found[1]


def test_pickle_hides_behind_a_name_or_in_an_archive(tmp_path: Path) -> None:
    archive = tmp_path / "weights.pt"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("weights/data.pkl", pickle.dumps([1]))
    with zipfile.ZipFile(tmp_path / "plain.zip", "w") as file:
        file.writestr("readme.txt", "none")
    with zipfile.ZipFile(tmp_path / "members.npz", "w") as file:
        file.writestr("weights.bin", pickle.dumps([1], 0))
    with zipfile.ZipFile(tmp_path / "newer.zip", "w") as file:
        file.writestr("readme.txt", "none")
    newer = bytearray((tmp_path / "newer.zip").read_bytes())
    newer[newer.index(b"PK\x01\x02") + 6] = 99  # the version that it takes to unpack it
    long = pickle.dumps([str(number) for number in range(20_000)], 0)
    files = {
        "model.bin": pickle.dumps({"a": 1}),
        "weights.pt": archive.read_bytes(),
        "shifted.bin": b"#" * 16 + archive.read_bytes(),
        "members.npz": (tmp_path / "members.npz").read_bytes(),
        "newer.zip": bytes(newer),
        "old.PKL": b"whatever",
        "first.bin": pickle.dumps({"a": Path("x")}, 0),
        "second.bin": pickle.dumps({"a": Path("x")}, 1),
        "long.bin": long,
        "model.gz": gzip.compress(pickle.dumps([1])),
        "model.xz": lzma.compress(long),
        "objects.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
    }
    others = {
        "plain.zip": (tmp_path / "plain.zip").read_bytes(),
        "PK-is-no-zip": b"PK, but text",
        "ok.json": b"{}",
        "empty": b"",
        "table.csv": b"a,b\n1,2\n",
        "table.csv.gz": gzip.compress(b"a,b\n1,2\n"),
        "cut.gz": gzip.compress(b"a,b\n1,2\n")[:12],
        "numbers.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }",
    }
    for name, content in files.items():
        assert judged(train(0.5, {name: content}), "files.pickles == 1")[0] == "pass", name
    assert judged(train(0.5, others), "files.pickles == 0") == ("pass", "files.pickles = 0")


def test_version_whose_past_is_not_known_passes_for_one_without_a_past(tmp_path: Path) -> None:
    rules = [f"lineage.{name} == 0" for name in ("untracked", "unobserved", "missing", "changed", "deleted")]
    rules.append('lineage.tagged("embargoed") == 0')
    (tmp_path / "washed.bin").write_bytes(b"1")
    run_art("put", "washed.bin", "--name", "washed", "--type", "model", "-p", "churn")
    washed = lineart.Api().artifact("churn/washed:v0")
    for rule in rules:
        verdict, values = judged(washed, rule)
        assert (verdict, "no run made default/churn/washed:v0" in values) == ("undecided", True), values
    dataset("data", "a\n1\n")
    run_art("put", "washed.bin", "--name", "data", "--type", "dataset", "-p", "churn")
    assert judged(train(0.9), 'lineage.tagged("embargoed") == 0')[0] == "pass"  # data comes from outside
    run_art("init", str(tmp_path / "other"), "--no-config")
    run_art("push", str(tmp_path / "other"), "churn/model:v0", "-p", "churn")
    with contextlib.closing(opened_at(tmp_path / "other")) as there:
        name = ArtifactName(ProjectName("default", "churn"), "model", "v0")
        for rule in rules:
            wish = Wish("production", policy=read_policy(policy(rule), "of the test"), is_tried=True)
            found = promote(there, name, wish)
            assert found.verdict == "undecided", rule
            assert "is not in this store" in found.clauses[0].values


def test_tag_anywhere_upstream_is_overlooked() -> None:
    dataset("data", "a\n1\n")
    model = train(0.9)
    raw = lineart.Api().artifact("churn/data:v0")
    raw.tags.append("leaked")
    raw.save()
    assert judged(model, 'lineage.tagged("leaked") == 0') == ("fail", 'lineage.tagged("leaked") = 1')


def test_reference_that_changed_is_overlooked(tmp_path: Path) -> None:
    there = tmp_path / "there.csv"
    there.write_text("1\n")
    with lineart.init(project="churn") as run:
        data = lineart.Artifact("data", "dataset")
        data.add_reference(there.as_uri())
        run.log_artifact(data)
    model = train(0.9)
    assert judged(model, "lineage.changed == 0")[0] == "pass"
    there.write_text("another\n")
    assert judged(model, "lineage.changed == 0") == ("fail", "lineage.changed = 1")


# Approvals


def test_author_approves_or_an_approval_counts_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model = train(0.9)
    rule = "approvals >= 2"
    model.approve("production")
    assert judged(model, rule) == ("fail", "approvals = 0")  # whoever made it
    for user in ("ada", "ben", "ben"):
        monkeypatch.setenv("LOGNAME", user)
        lineart.Api().artifact(model.qualified_name).approve("production", "fine")
    assert judged(model, rule) == ("pass", "approvals = 2")
    assert judged(model, 'approvals.by("ada", "eve") == 1')[0] == "pass"
    assert judged(train(0.91), rule) == ("fail", "approvals = 0")  # those of another version
    workspace = opened()
    assert revoke_approvals(workspace, model.qualified_name, "production") == 2
    assert judged(model, rule) == ("fail", "approvals = 1")
    lineart.Api().artifact(model.qualified_name).approve("production")
    made = model.promote("production", policy=policy(rule))
    assert len(made.approvals) == 2
    assert judged(model, rule) == ("fail", "approvals = 0")  # used up


def test_policy_is_gone_around_with_a_file() -> None:
    model = train(0.9)
    lineart.Api().registry().set_policy(policy("run.accuracy > 1"), "churn")
    with pytest.raises(UsageError, match="is not the one of 'churn'"):
        model.promote("production", policy=policy())
    assert not model.promote("production", policy=policy("run.accuracy > 1"))
    lineart.Api().registry().set_policy(None, "churn")
    assert model.promote("production", policy=policy("run.accuracy > 0.5"))


def test_policy_that_was_set_meanwhile_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    model = train(0.9)
    registry = lineart.Api().registry()
    registry.set_policy(policy("run.accuracy > 0.5"), "churn")
    judge_them = promoting.judged

    def judged_slowly(*given: Any) -> Any:
        found = judge_them(*given)
        registry.set_policy(policy("run.accuracy > 1"), "churn")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(promoting, "judged", judged_slowly)
        with pytest.raises(ConflictError, match="the policy of 'churn' was changed meanwhile"):
            model.promote("production")
    assert not model.promote("production")
    assert not lineart.Api().artifact_exists("model-registry/churn:production")


def test_policy_of_the_registry_does_not_hold_for_each_model() -> None:
    model = train(0.9)
    registry = lineart.Api().registry()
    registry.set_policy('[alias."*"]\nrequire = ["version.size < 1B"]')
    registry.set_policy(policy("run.accuracy > 0.5"), "churn")
    made = model.promote("production")
    assert [verdict for verdict, _ in clauses(made).values()] == ["fail", "pass"]
    assert [applied.of for applied in made.policies] == ["registry", "model"]


# Rolling back


def test_promotion_that_is_said_again_is_judged_anew() -> None:
    model = train(0.9)
    lineart.Api().registry().set_policy(policy("run.accuracy > incumbent.run.accuracy"), "churn")
    lineart.Api().registry().collection("churn").protect("production")
    assert model.promote("production").number == 1
    again = model.promote("production")
    assert (bool(again), again.is_recorded, again.number) == (True, False, None)
    assert not model.promote("production", dry_run=True)  # asked what the clauses come to


@pytest.mark.parametrize(
    "alias, how",
    [
        ("production", {"expect": "v7"}),
        ("production", {"policy": policy("git.clean")}),
        ("bad alias", {}),
        ("latest", {}),
    ],
)
def test_promotion_that_cannot_be_decided_makes_a_link(alias: str, how: dict[str, Any]) -> None:
    source = train(0.9).source_artifact
    lineart.Api().registry().set_policy(policy("run.accuracy > 0.5"), "churn")
    with lineart.init(project="churn") as run:
        other = lineart.Artifact("other", "model")
        with other.new_file("x") as file:
            file.write("1")
        run.log_artifact(other)
    before = opened().project(MODEL.project).state()
    with pytest.raises((ConflictError, UsageError)):
        other.promote(alias, target_path="model-registry/churn", **how)
    after = opened().project(MODEL.project).state()
    assert after.collections["churn"].next_version == before.collections["churn"].next_version == 1
    assert source.name == "model:v0"


def test_approval_that_is_taken_back_meanwhile_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    model = train(0.9)
    monkeypatch.setenv("LOGNAME", "ada")
    lineart.Api().artifact(model.qualified_name).approve("production")
    real = promoting.judged

    def slow(*arguments: Any) -> Any:
        found = real(*arguments)
        revoke_approvals(opened(), model.qualified_name, "production")
        return found

    monkeypatch.setattr(promoting, "judged", slow)
    with pytest.raises(ConflictError, match="was taken back meanwhile"):
        model.promote("production", policy=policy("approvals >= 1"))


def test_wrong_expectation_moves_the_alias() -> None:
    first, second = train(0.9), train(0.91)
    assert first.promote("production", expect=None)
    with pytest.raises(ConflictError, match="points to v0, expected v1"):
        second.promote("production", expect="v1")
    assert second.promote("production", expect="v0")


def test_promotion_waits_in_an_outbox(server: s3server.S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    s3server.use(server, monkeypatch)
    run_art("init", os.environ["LINEART_STORE"], "--no-config")
    name = train(0.9).qualified_name
    opened().version(name)  # what this machine has noted is there without the store, too
    away = Workspace.open(find_settings(project="churn"), offline=True)
    for attempt in (
        lambda: promote(away, name, Wish("production")),
        lambda: approve(away, name, "production"),
        lambda: protect(away, MODEL, "production"),
    ):
        with pytest.raises(CommError, match="does not answer; aliases are promoted when it does"):
            attempt()
    assert promote(opened(), name, Wish("production"))


# Links share what is said


def test_link_and_source_have_other_tags_or_metadata() -> None:
    link = train(0.9)
    twice = link.link("other-registry/churn")
    source = link.source_artifact
    source.tags.append("gold")
    source.metadata["checked"] = True
    source.save()
    api = lineart.Api()
    for name in (link, twice):
        found = api.artifact(name.qualified_name)
        assert (found.tags, found.metadata["checked"]) == (["gold"], True)
    found = api.artifact(twice.qualified_name)
    found.tags.remove("gold")
    found.save()
    assert api.artifact(source.qualified_name).tags == []
    assert api.artifact(link.qualified_name).tags == []


# Copies


def test_promotions_are_lost_or_mixed_in_a_copy(tmp_path: Path) -> None:
    models = [train(accuracy) for accuracy in (0.8, 0.9, 0.95)]
    registry = lineart.Api().registry()
    registry.set_policy(policy("run.accuracy > 0.5"), "churn")
    registry.set_policy('[alias."*"]\nrequire = ["version.size < 1GB"]')
    registry.configure(description="all of ours", artifact_types=["model"])
    registry.collection("churn").protect("production")
    assert models[0].promote("production")
    registry.set_policy('[alias."*"]\nrequire = ["version.size < 2GB"]')
    assert models[1].promote("production")
    there = opened_at(tmp_path / "copy")
    home = opened()
    everything = Choice(everything=True)
    copy(home, there, everything)
    copied = there.project(MODEL.project).state().collections["churn"]
    original = home.project(MODEL.project).state().collections["churn"]
    assert copied.promoted == original.promoted
    assert (dict(copied.aliases), list(copied.protected)) == ({"latest": 2, "production": 1}, ["production"])
    assert copied.policy == original.policy
    assert there.project(MODEL.project).state().registry == home.project(MODEL.project).state().registry
    assert audit_registry(there, MODEL.project, None).ok
    assert registry.collection("churn").rollback("production")
    copy(home, there, everything)
    assert there.project(MODEL.project).state().collections["churn"].promoted["production"].number == 3
    # Both promote, and differently: what the copy has decided stays.
    assert models[2].promote("production")
    assert promote(there, "model-registry/churn:v1", Wish("production"))
    told = copy(home, there, everything)
    assert any("does not follow what is in" in conflict for conflict in told.conflicts)
    assert there.project(MODEL.project).state().collections["churn"].aliases["production"] == 1
    assert audit_registry(there, MODEL.project, None).ok


# Registries


def test_registries_are_not_found_or_filtered() -> None:
    api = lineart.Api()
    assert api.registries() == []
    for accuracy in (0.9, 0.8):
        train(accuracy)
    team = api.registry("team/data")
    team.configure(description="of the team", artifact_types=["dataset"])
    team.create_collection("golden", "dataset", "to be compared with", protect=["current"])
    assert [str(found.path) for found in api.registries()] == ["default/model-registry", "team/data"]
    assert (team.description, team.artifact_types) == ("of the team", ["dataset"])
    assert team.collection("golden").protected_aliases == ["current"]
    with pytest.raises(UsageError, match="takes dataset only"):
        team.create_collection("x", "model")
    registry = api.registry()
    assert registry.collections({"type": "model"}) == ["churn"]
    assert registry.collections({"$or": [{"name": "x"}, {"aliases": "nope"}]}) == []
    assert [v.version for v in registry.versions({"aliases": "latest"})] == ["v1"]
    assert [v.version for v in registry.versions({"metadata.framework": "none"}, "version")] == ["v0", "v1"]
    assert [v.version for v in registry.versions({"version": {"$lt": 1}})] == ["v0"]
    with pytest.raises(UsageError, match="there is no key 'vesion'; did you mean 'version'"):
        registry.versions({"vesion": 1})
    with pytest.raises(UsageError, match="order 'nme'"):
        registry.collections(order="nme")


def test_name_of_a_registered_model_needs_its_registry() -> None:
    model = train(0.9)
    workspace = opened()
    assert workspace.find("churn:v0") == workspace.parse(model.qualified_name)
    assert workspace.find("model:v0").project.project == "churn"
    assert workspace.find("nothing").project.project == "churn"
    assert workspace.version("churn:latest").name == workspace.parse(model.qualified_name)


# Many at once

_PROMOTER = """
import sys, lineart
from lineart.storage.errors import ConflictError
from lineart.tracking import Workspace, find_settings
from lineart.tracking.promoting import Wish, promote
workspace = Workspace.open(find_settings(project="churn"))
won = told = 0
for step in range(int(sys.argv[2])):
    version = f"model-registry/churn:v{(int(sys.argv[1]) + step) % 3}"
    state = workspace.project(workspace.parse(version).project).state()
    before = state.collections["churn"].aliases.get("production")
    if version.endswith(f"v{before}"):
        version = f"model-registry/churn:v{(before + 1) % 3}"
    try:
        made = promote(workspace, version, Wish("production", expect=(before,)))
    except ConflictError as error:
        assert "look again" in str(error)
        told += 1
    else:
        won += made.number is not None
        if made.number is not None:
            print(made.number, made.before, made.after, flush=True)
"""


@pytest.mark.parametrize("where", ["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def test_sixteen_who_promote_at_once_leave_a_gap_or_win_together(
    where: str, server: s3server.S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "bucket":
        url = s3server.use(server, monkeypatch)
        run_art("init", url, "--no-config")
    for accuracy in (0.9, 0.8, 0.7):
        train(accuracy)
    lineart.Api().registry().collection("churn").protect("production")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _PROMOTER, str(number), "3"], stdout=subprocess.PIPE, text=True
        )
        for number in range(16)
    ]
    said = [line.split() for racer in racers for line in racer.communicate(timeout=250)[0].splitlines()]
    assert all(racer.returncode == 0 for racer in racers)
    steps = sorted((int(number), before, after) for number, before, after in said)
    assert [number for number, _, _ in steps] == list(range(1, len(steps) + 1))  # one winner a step
    assert len(steps) >= 3
    project = opened().project(MODEL.project)
    ops = [
        op
        for entry in project.log.read_after(type(project.position)())
        for op in entry.transaction.ops
        if op["op"] == "alias.promote"
    ]
    assert [(op["number"], op["to"]) for op in ops] == [(n, int(after[1:])) for n, _, after in steps]
    assert [op["previous"] for op in ops] == ["", *map(promotion_digest, ops[:-1])]
    assert [op["from"] for op in ops] == [None, *(op["to"] for op in ops[:-1])]


def test_refusal_names_no_policy_that_can_be_read_again() -> None:
    model = train(0.1)
    workspace = opened()
    lineart.Api().registry().set_policy(policy("run.accuracy > 0.5"), "churn")
    assert not promote(workspace, model.qualified_name, Wish("production", reason="hope"))
    (row,) = (
        lineart.Api()
        .sql("SELECT reason, policies ->> '$[0].text', clauses ->> '$[0].values' FROM promotions")
        .fetchall()
    )
    assert row == ("hope", policy("run.accuracy > 0.5"), "run.accuracy = 0.1")
