"""Signing versions, and following one from its bytes to the key: what is found when somebody writes into the store."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lineart
from builders import flip
from lineart.registry.signing import open_envelope, sign_statement
from lineart.storage.backend import Backend
from lineart.storage.errors import CommError, IntegrityError, NotFoundError, UsageError
from lineart.storage.transaction import GENESIS, chain_digest, decode_transaction
from lineart.tracking import Workspace, find_settings, log_draft
from lineart.tracking.signed_verification import SignedCheck, verify_signed
from lineart.tracking.transfer import Choice, copy
from lineart.tracking.version_signing import list_attestations, sign_files, sign_provenance, sign_version
from signing_keys import pair, signer, trusting

EMPTY = {"_type": "https://in-toto.io/Statement/v1", "subject": [], "predicateType": "x", "predicate": {}}
LOG = "projects/default/digits/log/000000"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A run that used data and made two models; the first one is signed by ann."""
    monkeypatch.setenv("LINEART_PROJECT", "digits")
    with lineart.init(job_type="train", config={"lr": 0.1}) as run:
        data = lineart.Artifact("data", "dataset")
        with data.new_file("rows.csv") as file:
            file.write("1\n2\n")
        used = run.use_artifact(run.log_artifact(data), role="train")
        for size in (3, 4):
            model = lineart.Artifact("model", "model")
            with model.new_file("weights.bin") as file:
                file.write("w" * size)
            run.log_artifact(model, derived_from=[used])
    workspace = opened()
    sign_version(workspace, "model:v0", signer("ann"))
    return workspace


def opened(store: str | Path | None = None, project: str = "digits", **how: bool) -> Workspace:
    return Workspace.open(find_settings(store=None if store is None else str(store), project=project), **how)


def log_weights(workspace: Workspace, text: str) -> None:
    model = lineart.Artifact("model", "model")
    with model.new_file("weights.bin") as file:
        file.write(text)
    log_draft(workspace, model)


def steps(check: SignedCheck) -> dict[str, bool | None]:
    return {step.name: step.ok for step in check.steps}


def verified(workspace: Workspace, name: str = "model:v0", *keys: str) -> SignedCheck:
    return verify_signed(workspace, name, trusting(*(keys or ("ann",))))


def detail(check: SignedCheck, step: str) -> str:
    return next(found.detail for found in check.steps if found.name == step)


def test_signed_version_is_followed_to_the_key(home: Workspace) -> None:
    check = verified(home)
    assert steps(check) == dict.fromkeys(["bytes", "manifest", "version", "log", "signature"], True)
    assert (check.ok, check.signers) == (True, ["ann"])
    assert "fixes those up to" in detail(check, "log")


def test_each_of_several_keys_has_to_have_signed(home: Workspace) -> None:
    check = verified(home, "model:v0", "ann", "bob")
    assert (check.ok, check.signers) == (False, ["ann"])
    assert "not signed by bob" in detail(check, "signature")
    sign_version(home, "model:v0", signer("bob"))
    assert verified(home, "model:v0", "ann", "bob").signers == ["ann", "bob"]


def test_signing_twice_says_nothing_twice(home: Workspace) -> None:
    before = home.project().position
    done = sign_version(home, "model:v0", signer("ann"))
    assert (done.added, done.present) == ((), ("version",))
    assert home.project().position == before
    assert sign_version(home, "model:v0", signer("ann"), provenance=True).added == ("provenance",)
    assert sign_version(home, "model:v0", signer("ann"), provenance=True).added == ()


def test_version_that_nobody_signed_is_told(home: Workspace) -> None:
    check = verified(home, "model:v1")
    assert steps(check) == {
        **dict.fromkeys(["bytes", "manifest", "version", "log"], True),
        "signature": False,
    }
    assert '"art sign" signs it' in detail(check, "signature")


def test_deleted_version_is_not_signed(home: Workspace) -> None:
    with pytest.raises(NotFoundError):
        sign_version(home, "model:v7", signer("ann"))
    lineart.Api().artifact("model:v0").delete(delete_aliases=True)
    with pytest.raises(NotFoundError, match="was deleted"):
        sign_version(opened(), "model:v0", signer("ann"))


# Forgeries: somebody who may write into the store, and does not have the key


Ops = list[dict[str, Any]]
Rewrite = Callable[[Ops, int], Ops | None]


def rewritten(backend: Backend, change: Rewrite) -> None:
    """Write the log anew, as somebody would who knows the format: numbers, seals and chain are right again."""
    keys = sorted(found.key for found in backend.list(f"{LOG}/"))
    olds = [decode_transaction(backend.read(key), seq=seq, where="") for seq, key in enumerate(keys)]
    backend.delete(keys)
    prev, seq = GENESIS, 0
    for old in olds:
        ops = change([json.loads(json.dumps(op)) for op in old.ops], old.seq)
        if ops is not None:
            data = replace(old, seq=seq, prev=prev, ops=ops).encode()
            backend.write(f"{LOG}/{seq:012}.json", data)
            prev, seq = chain_digest(data), seq + 1


def named(ops: Ops, kind: str) -> list[dict[str, Any]]:
    return [dict(op) for op in ops if op["op"] == kind]


def envelope_of(workspace: Workspace, name: str) -> dict[str, Any]:
    catalog = workspace.catalog()
    query = "SELECT envelope::VARCHAR FROM attestations WHERE version_id = ? ORDER BY position LIMIT 1"
    found = catalog.rows(query, [f"default/digits/{name}"])
    catalog.close()
    return json.loads(found[0][0])


def forge(workspace: Workspace, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Workspace:
    """Replace the envelope in the log."""

    def changed(ops: Ops, seq: int) -> Ops:
        return [
            {**op, "envelope": change(op["envelope"])} if op["op"] == "attestation.add" else op for op in ops
        ]

    rewritten(workspace.store.backend, changed)
    return opened()


def add(workspace: Workspace, envelope: object, version: int) -> None:
    op = {"op": "attestation.add", "collection": "model", "version": version, "kind": "version"}
    workspace.project().commit(lambda state: [{**op, "envelope": envelope}])


@pytest.mark.on_disk
def test_history_written_anew_before_the_signature_is_found(home: Workspace) -> None:
    """Everything is consistent again, but for what was signed: the place in the log."""

    def other_config(ops: Ops, seq: int) -> Ops:
        return [{**op, "config": {"lr": 7}} if op["op"] == "run.start" else op for op in ops]

    rewritten(home.store.backend, other_config)
    check = verified(opened())
    assert steps(check) == {
        **dict.fromkeys(["bytes", "manifest", "version", "signature"], True),
        "log": False,
    }
    assert "another one than was signed" in detail(check, "log")


@pytest.mark.on_disk
def test_transaction_taken_out_of_the_log_is_found(home: Workspace) -> None:
    rewritten(home.store.backend, lambda ops, seq: None if named(ops, "edge.use") else ops)
    check = verified(opened())
    assert not check.ok
    assert steps(check)["log"] is False


@pytest.mark.on_disk
def test_entry_changed_without_its_successors_is_found(home: Workspace) -> None:
    flip(Path(home.store.backend.local_path(f"{LOG}/000000000001.json") or ""), 40)
    check = verified(home)
    assert (check.ok, steps(check)["log"]) == (False, False)


@pytest.mark.on_disk
def test_version_with_other_content_under_a_signed_name_is_found(home: Workspace) -> None:
    """v0's record gets v1's content; bytes, manifest, record and chain agree, the signature does not."""
    other: dict[str, Any] = {}

    def swapped(ops: Ops, seq: int) -> Ops:
        keys = ("digest", "size_bytes", "packs", "meta_packs")
        made = [op for op in ops if op["op"] == "version.create" and op["collection"] == "model"]
        for op in made:
            if op["version"] == 1:
                op["digest"] = "0" * 64  # both cannot be live with one content
            else:
                op.update({key: other[key] for key in keys})
        return ops

    for number in range(99):
        try:
            data = home.store.backend.read(f"{LOG}/{number:012}.json")
        except NotFoundError:
            break
        for op in decode_transaction(data, seq=number, where="").ops:
            if op["op"] == "version.create" and op["collection"] == "model" and op["version"] == 1:
                other.update(op)
    rewritten(home.store.backend, swapped)
    check = verified(opened())
    assert steps(check) == {
        **dict.fromkeys(["bytes", "manifest", "version", "log"], True),
        "signature": False,
    }
    assert "digest.blake3" in detail(check, "signature")


@pytest.mark.on_disk
def test_log_cut_off_before_the_signed_place_is_found(home: Workspace, tmp_path: Path) -> None:
    envelope = envelope_of(home, "model:v0")
    last = max(found.key for found in home.store.backend.list(f"{LOG}/"))
    kept = int(last[-17:-5]) - 1  # without the attestation and the transaction that it names
    for key in [found.key for found in home.store.backend.list(f"{LOG}/")]:
        if int(key[-17:-5]) >= kept:
            home.store.backend.delete([key])
    shutil.rmtree(home.store.cache, ignore_errors=True)
    again = opened()
    add(again, envelope, 0)
    check = verified(again)
    assert steps(check)["log"] is False


@pytest.mark.on_disk
def test_damaged_pack_is_found(home: Workspace) -> None:
    for pack in home.store.backend.list("packs/"):
        path = Path(home.store.backend.local_path(pack.key) or "")
        if b"wwww" not in path.read_bytes() and b"www" in path.read_bytes():
            flip(path, path.read_bytes().index(b"www"))
    check = verified(home)
    assert steps(check)["bytes"] is False


def test_envelope_of_another_version_is_refused(home: Workspace) -> None:
    add(home, envelope_of(home, "model:v0"), 1)
    check = verified(home, "model:v1")
    assert steps(check)["signature"] is False
    assert "version statement: subject[0].name is 'default/digits/model:v0'" in detail(check, "signature")


def test_envelope_of_another_project_is_refused(home: Workspace) -> None:
    """The same content under the same name and number."""
    other = opened(project="other")
    log_weights(other, "www")
    add(other, envelope_of(home, "model:v0"), 0)
    assert other.version("model:v0").state.digest == home.version("model:v0").state.digest
    check = verified(other)
    assert (check.ok, steps(check)["signature"]) == (False, False)


@pytest.mark.on_disk
@pytest.mark.parametrize("fault", ["payload", "signature", "stranger", "no envelope"])
def test_forged_envelope_is_refused(fault: str, home: Workspace) -> None:
    def changed(envelope: dict[str, Any]) -> Any:
        statement = dict(open_envelope(envelope, trusting("ann")).statement)
        by_eve = sign_statement(statement, signer("eve"))
        swapped = {**envelope["signatures"][0], "sig": by_eve["signatures"][0]["sig"]}
        return {
            "payload": {**envelope, "payload": sign_statement({**statement, "x": 1}, signer("eve"))["payload"]},
            "signature": {**envelope, "signatures": [swapped]},
            "stranger": by_eve,
            "no envelope": ["x"],
        }[fault]  # fmt: skip

    check = verified(forge(home, changed))
    assert (check.ok, check.signers) == (False, [])
    assert steps(check)["signature"] is False


def test_forged_envelope_beside_a_true_one_is_told(home: Workspace) -> None:
    forged = {
        **envelope_of(home, "model:v0"),
        "payload": sign_statement(EMPTY, signer("eve"))["payload"],
    }
    add(home, forged, 0)
    check = verified(home)
    assert check.ok
    assert "beside it stands one that does not hold" in detail(check, "signature")


def test_checkpoint_that_says_otherwise_is_not_believed(
    home: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, other = home.version("model:v0"), home.version("model:v1")
    forged = type(real)(home.store, real.project, "model", "model", replace(other.state, number=0))
    monkeypatch.setattr(home, "version", lambda name: forged)
    check = verified(home)
    assert (check.ok, check.digest) == (True, real.state.digest)
    with pytest.raises(IntegrityError, match="a checkpoint"):
        sign_version(home, "model:v0", signer("ann"))


def test_alias_means_what_the_log_says(home: Workspace) -> None:
    check = verified(home, "model:latest")
    assert (str(check.name), check.ok) == ("default/digits/model:v1", False)
    with pytest.raises(NotFoundError, match="no alias"):
        verified(home, "model:production")
    with pytest.raises(NotFoundError):
        verified(home, "nothing")


# Copies


@pytest.mark.on_disk
def test_store_that_was_copied_as_files_is_verified_with_the_public_key_alone(
    home: Workspace, tmp_path: Path
) -> None:
    shutil.copytree(Path(os.environ["LINEART_STORE"]), tmp_path / "backup")
    assert verified(opened(tmp_path / "backup")).ok


def test_signature_comes_along_with_a_copy(home: Workspace, tmp_path: Path) -> None:
    target = opened(tmp_path / "target", create=True)
    copy(home, target, Choice(projects=[str(home.project_name)]))
    assert copy(home, target, Choice(projects=[str(home.project_name)])).transactions == 0
    check = verified(target)
    assert check.ok, check.steps
    assert "signed as default/digits/model:v0 in store" in detail(check, "log")


def test_copy_with_another_number_and_project_has_the_signature(home: Workspace, tmp_path: Path) -> None:
    target = opened(tmp_path / "target", "mine", create=True)
    log_weights(target, "own")
    copy(home, target, Choice(names=["model:v1"]), to=target.project_name)
    copy(home, target, Choice(names=["model:v0"]), to=target.project_name)
    moved = next(
        v for v in target.versions("model") if v.state.digest == home.version("model:v0").state.digest
    )
    assert moved.state.number == 2
    check = verified(target, "model:v2")
    assert check.ok, check.steps
    sign_version(target, "model:v2", signer("bob"))
    assert verified(target, "model:v2", "ann", "bob").signers == ["ann", "bob"]
    copy(target, home, Choice(names=["model"]), to=home.project_name)  # what bob has signed there goes home
    assert verified(home, "model:v0", "ann", "bob").ok


def test_signed_content_is_no_copy_without_its_origin(home: Workspace, tmp_path: Path) -> None:
    """The same bytes logged anew in another store: what ann signed was another logging."""
    target = opened(tmp_path / "target", create=True)
    copy(home, target, Choice(names=["model:v1"]))
    envelope = envelope_of(home, "model:v0")
    add(target, envelope, 1)
    check = verified(target, "model:v1")
    assert (check.ok, steps(check)["signature"]) == (False, False)


# Lists, provenance, model signatures


def test_list_says_which_trusted_key_fits(home: Workspace) -> None:
    sign_version(home, "model:v0", signer("bob"), provenance=True)
    add(home, {"payload": 7}, 0)
    catalog = home.catalog()
    unchecked = list_attestations(catalog, "default/digits/model:v0")
    checked = list_attestations(catalog, "default/digits/model:v0", trusting("ann"))
    catalog.close()
    assert [found.kind for found in unchecked] == ["version", "version", "provenance", "version"]
    assert [found.signed_by for found in checked] == [("ann",), (), (), ()]
    assert unchecked[0].key_ids == (signer("ann").key_id,)
    assert [found.problem is None for found in unchecked] == [True, True, True, False]


def test_provenance_is_of_the_run_and_its_inputs(home: Workspace) -> None:
    opened_ = open_envelope(sign_provenance(home, "model:v0", signer("ann")), trusting("ann"))
    definition = opened_.statement["predicate"]["buildDefinition"]
    (data, *code) = definition["resolvedDependencies"]
    assert data["name"] == "default/digits/data:v0"
    assert data["digest"]["blake3"] == home.version("data:v0").state.digest
    assert all(set(found["digest"]) == {"gitCommit"} for found in code)
    assert definition["externalParameters"]["config"] == {"lr": 0.1}
    assert definition["internalParameters"]["exactInputs"] is True
    assert "finishedOn" in opened_.statement["predicate"]["runDetails"]["metadata"]


def test_version_of_no_run_has_no_provenance(home: Workspace) -> None:
    log_weights(home, "loose")
    with pytest.raises(UsageError, match="outside of a run"):
        sign_version(home, "model", signer("ann"), provenance=True)


def test_offline_nothing_is_signed(home: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(home.store), "is_offline", property(lambda self: True))
    with pytest.raises(CommError, match="sign when it answers"):
        sign_version(home, "model:v0", signer("ann"))


@pytest.mark.on_disk
def test_damaged_log_is_not_signed(home: Workspace) -> None:
    flip(Path(home.store.backend.local_path(f"{LOG}/000000000001.json") or ""), 40)
    with pytest.raises(IntegrityError):
        sign_version(home, "model:v1", signer("ann"))


def test_model_signature_needs_a_key_of_its_kind(home: Workspace) -> None:
    with pytest.raises(UsageError, match="--ec"):
        sign_files(home.version("model:v0"), signer("ann"))


def test_keys_of_tests_are_what_they_say() -> None:
    assert pair("ann") != pair("bob")
    assert signer("ann", "ecdsa-p256").public.kind == "ecdsa-p256"
