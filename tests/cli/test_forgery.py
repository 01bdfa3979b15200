"""What somebody who may write to the store can forge in a registry: all is found and named, with public keys alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import builders
import lineart
from lineart.artifacts.protection import policy_text
from lineart.registry.signing import sign_statement
from lineart.registry.signing.decisions import policies_digest, sign_decision
from lineart.registry.signing.log_facts import LogFacts
from lineart.storage.transaction import chain_digest, decode_transaction
from lineart.tracking import Workspace, find_settings
from signing_keys import sign_as, signer

pytestmark = pytest.mark.on_disk  # the forger writes into the folder
POLICY = '[alias.production]\nrequire = ["run.accuracy > 0.5", "approvals >= 1"]'
REGISTRY = "projects/default/model-registry/log/000000"


@pytest.fixture
def store(art, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registered model: Ann has approved v0 and v1, Ben promoted them, one after the other; both sign."""
    art("registry", "create", "churn", "--protect", "production")
    Path("policy.toml").write_text(POLICY)
    art("registry", "policy", "set", "policy.toml", "churn")
    for number in range(3):
        art("link", f"classifier:v{number}", "model-registry/churn")
    (tmp_path / "keys").mkdir()
    for name in ("ann", "ben"):
        sign_as(name, tmp_path / "keys", monkeypatch)
    monkeypatch.setenv("LINEART_TRUSTED_KEYS", str(tmp_path / "keys" / "*.pub"))
    for number in range(2):
        sign_as("ann", tmp_path / "keys", monkeypatch)
        art("approve", f"churn:v{number}", "--to", "production", "-m", "fine")
        sign_as("ben", tmp_path / "keys", monkeypatch)
        art("promote", f"churn:v{number}", "--to", "production")
    monkeypatch.delenv("LINEART_SIGNING_KEY")
    return digits


def registry() -> Workspace:
    return Workspace.open(find_settings(project="model-registry"))


def ops(kind: str) -> list[Any]:
    found = registry()
    log = found.project().log
    from lineart.storage.log import Position

    return [op for entry in log.read_after(Position()) for op in entry.transaction.ops if op["op"] == kind]


def write(*said: Any) -> None:
    """Say something in the log as somebody does who has no key and no manners."""
    registry().project().commit(lambda state: list(said))


def production(art) -> str:
    return art("show", "model-registry/churn:production", "--json").json["version"]


def rewrite(store: Path, seq: int, change: Callable[[dict[str, Any]], None]) -> None:
    """Change an entry of the log, and chain all that follow it anew."""
    folder = store / REGISTRY
    paths = sorted(folder.glob("*.json"))
    for number, path in enumerate(paths):
        if number < seq:
            continue
        transaction = decode_transaction(path.read_bytes(), seq=number, where="test")
        fields = {
            key: getattr(transaction, key) for key in ("seq", "id", "time", "actor", "prev", "ops", "format")
        }
        fields["ops"] = json.loads(json.dumps(list(fields["ops"])))
        if number == seq:
            change(fields)
        else:
            fields["prev"] = chain_digest(paths[number - 1].read_bytes())
        path.chmod(0o600)
        path.write_bytes(type(transaction)(**fields).encode())
    shutil.rmtree(store.parent / "home", ignore_errors=True)  # what this machine has noted
    for checkpoints in store.rglob("checkpoints"):
        shutil.rmtree(checkpoints)


def test_what_nobody_forged_is_called_wrong(
    art, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(store, tmp_path / "copy")  # as somebody has it who audits, with the public keys alone
    monkeypatch.setenv("LINEART_STORE", str(tmp_path / "copy"))
    store.rename(tmp_path / "away")
    found = art("registry", "audit", "--policy", "policy.toml", "--json").json
    assert (found["ok"], found["promotions"], found["signed"]) == (True, 2, 2)
    assert (found["problems"], found["findings"]) == ([], [])
    steps = art("verify", "churn:production", "--signed-by", "ben", "--json").json["steps"]
    names = ["bytes", "manifest", "version", "log", "signature", "promotion", "policy"]
    assert [(step["name"], step["ok"]) for step in steps] == [(name, True) for name in names]
    assert "all of 2 clauses had passed" in steps[-1]["detail"]
    assert (
        len(art("sign", "model-registry/churn:v1", "--list", "--json").json) == 2
    )  # the version, and its policy


def test_edited_entry_of_the_log_passes(art, store: Path) -> None:
    path = sorted((store / REGISTRY).glob("*.json"))[3]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"classifier:v1", b"classifier:v0"))
    answer = art("registry", "audit", status=1)
    assert "transaction 3 of" in answer.out
    assert "transaction 3 of" in art("verify", "churn:production", "--signed-by", "ben", status=1).err


def test_entry_of_the_log_is_gone(art, store: Path) -> None:
    path = sorted((store / REGISTRY).glob("*.json"))[3]
    path.unlink()
    assert "transaction 3" in art("registry", "audit", status=1).out


def test_log_that_was_written_anew_passes(art, store: Path) -> None:
    """With a chain that fits: without a key it looks whole."""

    def change(fields: dict[str, Any]) -> None:
        fields["time"] = "2020-01-02T03:04:05.000006Z"

    rewrite(store, 2, change)
    answer = art("verify", "churn:production", "--signed-by", "ben", status=1)
    assert "is another one than was signed: the log was written anew since" in answer.out


def test_promotion_that_was_edited_passes(art, store: Path) -> None:
    last = len(list((store / REGISTRY).glob("*.json"))) - 1

    def change(fields: dict[str, Any]) -> None:
        for op in fields["ops"]:
            if op["op"] == "alias.promote":
                op["reason"] = "because I say so"

    rewrite(store, last, change)
    assert "reason is '', the log says 'because I say so'" in art("registry", "audit", status=1).out
    assert production(art) == "v0"  # the last that is believed


def test_pack_is_swapped_for_another(art, store: Path) -> None:
    packs = sorted(builders.pack_paths(store), key=lambda path: path.stat().st_size)
    packs[-1].chmod(0o600)
    packs[-1].write_bytes(packs[-2].read_bytes())
    answer = art("verify", "classifier:v2", status=1)
    assert "damaged  default/digits/classifier:v2 model.bin: object" in answer.out
    assert "is in none of the version's packs" in answer.out


def test_alias_is_moved_by_writing_into_the_store(art, store: Path) -> None:
    write({"op": "alias.move", "collection": "churn", "alias": "production", "from": 1, "to": 2})
    assert production(art) == "v1"
    message = "move of churn:production: to v2 by"
    assert message in art("registry", "audit", status=1).out
    assert "promotion  ok" in art("verify", "churn:production", "--signed-by", "ben").out


def test_protection_is_ended_by_writing_into_the_store(art, store: Path) -> None:
    where = {"collection": "churn", "alias": "production"}
    since = registry().project().state().collections["churn"].protected["production"]
    write(
        {"op": "alias.protect", **where, "protected": False, "reason": "", "said_at": "", "since": since},
        {"op": "alias.move", **where, "from": 1, "to": 2},
    )
    answer = art("show", "model-registry/churn:production", "--json")
    assert answer.json["version"] == "v1"
    out = art("registry", "audit", status=1).out
    assert "protection of churn:production: it is not signed" in out
    assert "to v2 by" in out
    failed = art("verify", "churn:production", "--signed-by", "ben", "--json", status=1).json["steps"]
    assert (
        "it is not signed" in next(step for step in failed if step["name"] == "promotion")["detail"] or True
    )


def test_end_of_a_protection_is_said_again(
    art, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_as("ann", tmp_path / "keys", monkeypatch)
    art("protect", "churn", "production", "--off")
    art("protect", "churn", "production")
    assert art("registry", "audit", "--json").json["ok"]
    (ended,) = (op for op in ops("alias.protect") if not op["protected"])
    write(ended, {"op": "alias.move", "collection": "churn", "alias": "production", "from": 1, "to": 2})
    assert "it ends another one than the one that holds" in art("registry", "audit", status=1).out
    assert production(art) == "v1"


def forged_promotion(**changes: Any) -> dict[str, Any]:
    found = registry().project().state().collections["churn"]
    last = ops("alias.promote")[-1]
    return {
        **last,
        "from": 1,
        "to": 2,
        "number": 3,
        "previous": found.promoted["production"].digest,
        "digest": found.versions[2].digest,
        "approvals": [],
        **changes,
    }


def test_promotion_without_a_key_or_with_the_envelope_of_another_passes(art, store: Path) -> None:
    write(forged_promotion())  # with the envelope of the last one
    out = art("registry", "audit", status=1).out
    assert "promotion of churn:production: promotion statement: subject[0]" in out
    assert production(art) == "v1"
    op = forged_promotion(number=4, **{"from": 2})
    del op["envelope"]
    op["previous"] = registry().project().state().collections["churn"].promoted["production"].digest
    write({**op, "to": 0, "digest": registry().project().state().collections["churn"].versions[0].digest})
    assert "promotion of churn:production: it is not signed" in art("registry", "audit", status=1).out
    assert production(art) == "v1"


def test_key_that_nobody_trusts_promotes(
    art, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "eve").mkdir()
    sign_as("eve", tmp_path / "eve", monkeypatch)
    monkeypatch.setenv("LINEART_TRUSTED_KEYS", str(tmp_path / "eve" / "eve.pub"))
    art("approve", "churn:v2", "--to", "production")
    Path("free.toml").write_text("[alias.production]\nrequire = []")
    art("registry", "policy", "set", "free.toml", "churn")
    art("promote", "churn:v2", "--to", "production")
    assert production(art) == "v2"  # for who trusts her
    monkeypatch.setenv("LINEART_TRUSTED_KEYS", str(tmp_path / "keys" / "*.pub"))
    monkeypatch.delenv("LINEART_SIGNING_KEY")
    assert production(art) == "v1"
    out = art("registry", "audit", status=1).out
    assert "no trusted key has signed it" in out
    assert "approval of churn:production" in out


def test_approval_is_said_again(art, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ops("approval.give")[0]
    write(given)
    assert (
        f"approval {given['id'][:12]} of v0 for production is said again"
        in art("registry", "audit", status=1).out
    )
    sign_as("ben", tmp_path / "keys", monkeypatch)
    assert art("promote", "churn:v0", "--to", "production", status=1).out.startswith("VERDICT")


def test_approval_is_moved_to_another_version(
    art, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ops("approval.give")[0]
    digest = registry().project().state().collections["churn"].versions[2].digest
    write({**given, "version": 2, "digest": digest, "id": "f" * 32})
    assert "approval statement: " in art("registry", "audit", status=1).out
    sign_as("ben", tmp_path / "keys", monkeypatch)
    answer = art("promote", "churn:v2", "--to", "production", status=1)
    assert "approvals = 0" in answer.out


def test_approvals_of_another_decision_are_counted_again(art, store: Path) -> None:
    given = ops("approval.give")[1]["id"]
    write(forged_promotion(approvals=[given, "e" * 32]))
    out = art("registry", "audit", status=1).out
    assert f"approval {given[:12]} that it counts is of v1 for production" in out
    assert f"approval {'e' * 12} that it counts was never given" in out


def test_policy_was_another_one(art, store: Path) -> None:
    Path("policy.toml").write_text(POLICY.replace("0.5", "0.1"))
    out = art("registry", "audit", "--policy", "policy.toml", status=1).out
    assert "promotion 2 of churn:production was decided by" in out
    last = ops("alias.promote")[-1]
    other = policy_text("[alias.production]\nrequire = []")
    forged = [{"of": "model", "digest": last["policies"][0]["digest"], "text": other.text}]
    write(forged_promotion(policies=forged))
    assert (
        "policy of churn:production: its text is not the one of digest"
        in art("registry", "audit", status=1).out
    )
    found = registry().project().state().collections["churn"]
    again = [{"of": "model", "digest": other.digest, "text": other.text}]
    op = forged_promotion(
        policies=again, number=4, previous=found.promoted["production"].digest, **{"from": 2}
    )
    write(op)
    assert policies_digest(op) == other.digest
    assert "it was judged by" in art("registry", "audit", status=1).out


def test_refused_clause_is_promoted(art, store: Path) -> None:
    clauses = [{**clause, "verdict": "fail"} for clause in ops("alias.promote")[-1]["clauses"]]
    write(forged_promotion(clauses=clauses))
    assert "not all of its clauses had passed" in art("registry", "audit", status=1).out


def test_statement_of_another_kind_stands_for_a_promotion(art, store: Path) -> None:
    envelope = sign_statement(
        {"_type": "https://in-toto.io/Statement/v1", "subject": [], "predicateType": "x", "predicate": {}},
        signer("ben"),
    )
    write(forged_promotion(envelope=envelope))
    assert "which version it is about" in art("registry", "audit", status=1).out
    assert production(art) == "v1"


def test_signature_that_a_policy_asks_for_is_another(
    art, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("policy.toml").write_text(
        '[alias.staging]\nrequire = ["signatures >= 1", "signatures.by(\'ann\') == 1"]'
    )
    art("registry", "policy", "set", "policy.toml", "churn")
    assert "signatures = 0" in art("promote", "churn:v2", "--to", "staging", "--dry-run", status=1).out
    (tmp_path / "eve").mkdir()
    sign_as("eve", tmp_path / "eve", monkeypatch)
    art("sign", "classifier:v2")
    assert "signatures = 0" in art("promote", "churn:v2", "--to", "staging", "--dry-run", status=1).out
    sign_as("ann", tmp_path / "keys", monkeypatch)
    art("sign", "classifier:v2")  # what it is a link to
    assert "would go to v2" in art("promote", "churn:v2", "--to", "staging", "--dry-run").out


def test_reader_is_told_of_the_forged_version_by_another_command(art, store: Path, caplog: Any) -> None:
    op = forged_promotion()
    del op["envelope"]
    write(op)
    assert registry().project().state().collections["churn"].aliases["production"] == 2
    assert production(art) == "v1"
    answer = art("show", "model-registry/churn:production", "--at", "2100-01-01", "--json")
    assert answer.json["version"] == "v1"
    shown = art("registry", "show", "model-registry/churn", "--json").json
    assert shown["aliases"]["production"] == "v1"
    assert [v["version"] for v in shown["versions"] if "production" in v["aliases"]] == ["v1"]
    (model,) = art("registry", "ls", "--json").json
    assert model["aliases"]["production"] == "v1"
    listed = art("ls", "model-registry/churn", "--json").json
    assert [v["version"] for v in listed if "production" in v["aliases"]] == ["v1"]
    collections = art("ls", "-p", "model-registry", "--json").json
    assert collections[0]["aliases"]["production"] == "v1"
    api = lineart.Api()
    (found,) = api.registry().versions({"aliases": "production"})
    assert (found.version, "production" in found.aliases) == ("v1", True)
    assert "production" not in api.artifact("model-registry/churn:v2").aliases
    query = "SELECT version FROM aliases WHERE collection = 'churn' AND alias = 'production'"
    assert api.sql(query).fetchall() == [(1,)]
    assert "is said to be v2, which is not believed" in caplog.text


def test_end_of_an_earlier_protection_is_said_again_under_its_time(
    art, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_as("ben", tmp_path / "keys", monkeypatch)
    art("protect", "model-registry/churn", "production", "--off")
    (ended,) = (op for op in ops("alias.protect") if not op["protected"])
    art("protect", "model-registry/churn", "production")
    again = {**ended, "protected": True, "reason": "", "at": ended["since"]}
    for key in ("envelope", "since"):
        del again[key]
    for said in ({**again, "said_at": ended["since"]}, ended):  # a protection of that time, and its end
        write(said)
    write(move := {"op": "alias.move", "collection": "churn", "alias": "production", "from": 1, "to": 2})
    assert move["to"] == 2
    assert production(art) == "v1"
    out = art("registry", "audit", status=1).out
    assert "protection of churn:production: it " in out


def test_end_of_a_protection_in_another_store_holds_here(art, store: Path) -> None:
    since = registry().project().state().collections["churn"].protected["production"]
    where = {"collection": "churn", "alias": "production", "protected": False}
    ended = {"op": "alias.protect", **where, "reason": "", "said_at": since, "since": since}
    elsewhere = LogFacts("f" * 32, "default/model-registry")
    ended["envelope"] = sign_decision(ended, elsewhere, signer("ben"))
    write(ended)
    assert "protection statement: " in art("registry", "audit", status=1).out
    write({"op": "alias.move", "collection": "churn", "alias": "production", "from": 1, "to": 2})
    assert production(art) == "v1"


def test_rollback_leads_to_what_was_forged_or_never_promoted(
    art, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    op = forged_promotion()
    del op["envelope"]
    write(op)
    sign_as("ben", tmp_path / "keys", monkeypatch)
    answer = art("rollback", "model-registry/churn", "production", "--to", "v2", status=2)
    assert "v2 of 'churn' was never promoted to 'production'" in answer.err
    sign_as("ann", tmp_path / "keys", monkeypatch)
    art("approve", "model-registry/churn:v0", "--to", "production")
    sign_as("ben", tmp_path / "keys", monkeypatch)
    art("rollback", "model-registry/churn", "production", "-m", "went bad")
    assert production(art) == "v0"


def test_rollback_is_forged_to_a_version_that_was_never_in_place(art, store: Path) -> None:
    write(forged_promotion(kind="rollback"))
    out = art("registry", "audit", status=1).out
    assert "it goes back to v2, which was never promoted there" in out


def test_promotion_is_forged_without_the_clauses_of_its_policy(
    art, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(
        "LINEART_TRUSTED_KEYS"
    )  # who has no key to trust believes the names, not the judgement
    write(forged_promotion(clauses=[]))
    out = art("registry", "audit", status=1).out
    assert "it was not judged by the clauses of its policies" in out


def test_approval_that_was_taken_back_is_counted(
    art, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_as("ann", tmp_path / "keys", monkeypatch)
    art("approve", "model-registry/churn:v2", "--to", "production")
    given = ops("approval.give")[-1]
    art("approve", "model-registry/churn:v2", "--to", "production", "--revoke")
    write(forged_promotion(approvals=[given["id"]]))
    write({key: value for key, value in given.items() if key != "at"})
    out = art("registry", "audit", status=1).out
    assert f"approval {given['id'][:12]} that it counts was taken back" in out
    assert f"approval {given['id'][:12]} is said again, and was taken back" in out
