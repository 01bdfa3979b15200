"""The example of a release: the script as it is, and the steps of its pipelines in a shell, against a bucket."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import lineart
import s3server
from lineart.registry.signing import make_key

RELEASE = Path(__file__).parents[1] / "examples" / "release"
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A bucket with two versions of a model, each evaluated, and the repository's folder with its policy."""
    monkeypatch.setenv("PATH", PATH)
    monkeypatch.chdir(tmp_path)
    with s3server.moto() as server:
        url = s3server.use(server, monkeypatch)
        subprocess.run(["art", "init", url, "--no-config"], check=True, capture_output=True)
        shutil.copy(RELEASE / "policy.toml", tmp_path)
        _commit(tmp_path)
        with lineart.init(project="digits") as run:
            run.log_artifact(_made("golden", "dataset", "rows"))
        for accuracy in (0.95, 0.93):
            with lineart.init(project="digits", settings={"observe": [str(tmp_path)]}) as run:
                model = run.log_artifact(_made("classifier", "model", f"{accuracy}"))
            with lineart.init(project="digits") as run:
                run.use_artifact(model)
                run.use_artifact("golden:v0")
                run.log({"accuracy": accuracy})
        monkeypatch.setenv("LINEART_SIGNING_KEY", make_key()[0].decode())
        subprocess.run(
            ["art", "registry", "create", "digit-reader", "--protect", "production"],
            check=True,
            capture_output=True,
        )
        yield tmp_path


def _commit(folder: Path) -> None:
    for arguments in (["init"], ["add", "."], ["commit", "-m", "code"]):
        who = ["-c", "user.name=ada", "-c", "user.email=ada@example.com"]
        subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def _made(name: str, type: str, text: str) -> lineart.Artifact:
    made = lineart.Artifact(name, type)
    with made.new_file("x.json") as file:
        file.write(text)
    return made


def shell(script: str, version: str, *, status: int = 0) -> str:
    """A step of a pipeline, as its runner starts it."""
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        env={**os.environ, "VERSION": version},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, (script, done.stdout, done.stderr)
    return done.stdout


def github(name: str) -> str:
    """The shell of a step."""
    steps: list[dict[str, Any]] = yaml.safe_load((RELEASE / "github-actions.yml").read_text())["jobs"][
        "release"
    ]["steps"]
    return str(next(step["run"] for step in steps if step.get("name") == name))


def gitlab(name: str) -> str:
    """The shell of a job."""
    return "\n".join(yaml.safe_load((RELEASE / "gitlab-ci.yml").read_text())[name]["script"])


def policy_uris() -> set[str]:
    """How the signed verification results name the policy."""
    rows = lineart.Api().sql("SELECT envelope ->> '$.payload' FROM attestations WHERE kind = 'policy'")
    said = [json.loads(base64.b64decode(payload)) for (payload,) in rows.fetchall()]
    return {statement["predicate"]["verifier"]["policy"]["uri"] for statement in said}


@pytest.mark.slow
def test_steps_of_the_pipelines_release_refuse_and_roll_back(pipeline: Path) -> None:
    shell(github("the policy of the repository is the one in the store"), "")
    judged = shell(github("judge, and show every value"), "digits/classifier:v1")
    assert 'eval("golden:v0").accuracy = 0.93' in judged
    assert "production → v0 (new), promotion 1" in shell(github("release"), "digits/classifier:v1")
    told = shell(gitlab("judge"), "digits/classifier:v0")
    assert "would go to v1 (was v0)" in told
    assert "ok: default/model-registry" in shell(gitlab("release"), "digits/classifier:v0")
    assert "1 of 6 clauses fail" in shell(github("release"), "digits/classifier:v1", status=1)
    assert "production → v0 (was v1), promotion 3" in shell(gitlab("roll back"), "")
    happened = shell(github("what happened"), "")
    assert policy_uris() == {"art://default/model-registry/digit-reader:production"}
    assert "rollback" in happened
    assert "signed" in happened
    assert "ok: default/model-registry" in happened


def test_pipelines_set_no_policy_of_a_branch_and_none_to_roll_back() -> None:
    lab = yaml.safe_load((RELEASE / "gitlab-ci.yml").read_text())
    rules = [rule["if"] for rule in lab["workflow"]["rules"]]
    assert all("$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH" in rule for rule in rules)
    assert [rule.partition(" ")[0] for rule in rules] == ["$VERSION", "$BACK"]
    assert lab["roll back"]["needs"] == []
    assert lab["roll back"]["rules"][0] == {"if": "$BACK"}
    hub = yaml.safe_load((RELEASE / "github-actions.yml").read_text())
    assert "default_branch" in hub["jobs"]["release"]["if"]
    for step in hub["jobs"]["release"]["steps"]:
        if "promote" in step.get("run", "") or "policy" in step.get("run", ""):
            assert step["if"] == "${{ !inputs.back }}", step["name"]
    shell(github("a version is named"), "", status=1)
    shell(github("a version is named"), "digits/classifier:v1")


@pytest.mark.parametrize("name", ["keys", "store", "away", ".git"])
def test_script_stops_before_it_touches_what_is_there(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    done = subprocess.run(
        ["sh", str(RELEASE / "release.sh")], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, [path.name for path in tmp_path.iterdir()]) == (2, [name])
    assert f"{name} is there already; run it in an empty folder" in done.stderr


@pytest.mark.slow
def test_script_tells_another_story(tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LINEART_")}
    (tmp_path / "work").mkdir()
    done = subprocess.run(
        ["sh", str(RELEASE / "release.sh")],
        cwd=tmp_path / "work",
        env={**environment, "PATH": PATH, "HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    parts = done.stdout.split("\n== ")
    said = {part.partition("\n")[0]: part for part in parts}
    first = said["the registered model, its policy, and the first release"]
    assert "refused: digit-reader:production still points nowhere" in first
    assert "digit-reader:production → v1 (new), promotion 1" in first
    worse = said["a worse one is refused, with the clause and the number"]
    assert 'fail     eval("golden:v0").accuracy >= 0.92  ·  eval("golden:v0").accuracy = 0.' in worse
    untracked = said["one with an input that nobody has logged is refused"]
    assert "fail     lineage.untracked == 0  ·  lineage.untracked = 1" in untracked
    dirty = said["one from a dirty tree is refused"]
    assert "fail     git.clean  ·  git.clean = false" in dirty
    assert "production → v1 (was v" in said["a better one is released, and rolled back"]
    assert "errors since 14:00" in said["what happened"]
    proof = said["proved elsewhere: a copy of the store and the public key"]
    assert "3 signed by release" in proof
    assert "policy     ok" in proof
