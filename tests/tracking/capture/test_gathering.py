"""All that is recorded at the start of a run, and that nothing of it can hurt it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from lineart.tracking.capture import gather, quick_facts
from lineart.tracking.run_settings import Settings

ALL_OFF = Settings(git=False, packages=False, host=False, environment=False, save_code=False)


def test_everything_is_found(repository: Path) -> None:
    (repository / "train.py").write_text("import this\n")
    environ = {"SLURM_JOB_ID": "7", "API_KEY": "abcdefgh1"}
    found = gather(Settings(), repository, ["train.py", "--token=x", "abcdefgh1"], environ)
    assert found.facts.keys() >= {
        "command",
        "folder",
        "python",
        "host",
        "platform",
        "cpu_count",
        "git",
        "launchers",
    }
    assert found.facts["command"] == ["train.py", "--token=***", "***"]
    assert found.facts["git"]["dirty"] is True
    assert found.facts["launchers"] == {"slurm": {"SLURM_JOB_ID": "7"}}
    assert found.files["diff.patch"].startswith(b"diff --git a/train.py b/train.py\n")
    assert b"\npytest==" in found.files["requirements.txt"]
    assert json.loads(found.files["environment.json"]) == {"API_KEY": "***", "SLURM_JOB_ID": "7"}
    code = found.facts["code"]
    assert code.startswith("code/")
    assert found.files[code]
    assert "not_captured" not in found.facts
    json.dumps(found.facts)


def test_what_is_switched_off_is_not_looked_for(repository: Path) -> None:
    found = gather(ALL_OFF, repository, ["x.py"], {"A": "1"})
    assert set(found.facts) == {"command", "folder", "python"}
    assert found.files == {}


@pytest.mark.parametrize(
    "setting, names",
    [
        ("git", {"git", "diff.patch"}),
        ("packages", {"requirements.txt"}),
        ("environment", {"environment.json", "launchers"}),
        ("save_code", {"code"}),
        ("host", {"host", "platform", "executable", "cpu_count", "memory_bytes", "pid"}),
    ],
)
def test_each_part_has_its_switch(repository: Path, setting: str, names: set[str]) -> None:
    (repository / "train.py").write_text("import this\n")
    environ = {"SLURM_JOB_ID": "7"}
    whole = gather(Settings(), repository, ["x.py"], environ)
    without = gather(Settings(**{setting: False}), repository, ["x.py"], environ)
    gone = {*whole.facts, *whole.files} - {*without.facts, *without.files}
    assert gone - {name for name in gone if name.startswith("code/")} >= names


def test_outside_of_a_repository_git_is_null(tmp_path: Path) -> None:
    found = gather(Settings(), tmp_path, ["x.py"], {})
    assert found.facts["git"] is None
    assert "diff.patch" not in found.files


def test_part_that_fails_is_named_with_the_reason(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> list[str]:
        raise PermissionError("no list for you")

    monkeypatch.setattr("lineart.tracking.capture.gathering.installed_packages", fail)
    found = gather(Settings(), repository, ["x.py"], {})
    assert found.facts["not_captured"] == {"packages": "no list for you"}
    assert found.facts["git"]["branch"] == "main"


def test_patch_that_is_too_large_is_named(repository: Path) -> None:
    (repository / "train.py").write_text("x\n" * 6_000_000)
    found = gather(Settings(), repository, ["x.py"], {})
    assert "more than 10000000 bytes" in found.facts["not_captured"]["diff"]
    assert "diff.patch" not in found.files


def test_part_that_hangs_is_left_behind(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang() -> list[str]:
        release.wait(60)
        return []

    monkeypatch.setattr("lineart.tracking.capture.gathering.installed_packages", hang)
    begun = time.monotonic()
    found = gather(Settings(git=False), repository, ["x.py"], {}, timeout_s=0.5)
    assert time.monotonic() - begun < 10
    assert found.facts["not_captured"]["packages"] == "not found out within 0.5 s"
    release.set()


def test_quick_facts_start_no_process_and_read_no_file(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*arguments: object, **options: object) -> None:
        raise AssertionError("too slow for the start of a run")

    monkeypatch.setattr("subprocess.Popen", forbidden)
    monkeypatch.setattr("builtins.open", forbidden)
    found = quick_facts(Settings(), repository, ["x.py", "--token", "y"], {"A_KEY": "secret-1234"})
    assert found["command"] == ["x.py", "--token", "***"]
    assert found["folder"] == str(repository)
