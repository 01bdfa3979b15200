"""No export has a password, a token or a number in a form that only this project knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import lineart
import scenario

PROJECT = "team/digits"
SECRETS = ("k-123456789", "hunter2", "abc123sig", "ada:")
LARGE = 1 << 64


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> lineart.Artifact:
    """With secrets in its run's config, error and inputs, and in the address that it refers to."""
    monkeypatch.setenv("LINEART_PROJECT", PROJECT)
    monkeypatch.chdir(tmp_path)
    workspace = scenario.workspace(PROJECT)
    config = {
        "api_key": "k-123456789",
        "db": {"user": "x", "password": "hunter2"},
        "n": {"_int": str(LARGE)},
        "rate": {"_float": "nan"},
    }
    start = {
        "op": "run.start",
        "run": "r1",
        "config": config,
        "capture": {"git": {"commit": "ab" * 20, "remote": "https://ada:hunter2@example.org/c"}},
    }
    finish = {
        "op": "run.finish",
        "run": "r1",
        "state": "failed",
        "exit_code": 1,
        "summary": {"steps": {"_int": str(LARGE)}, "loss": {"_float": "nan"}, "f1": {"_decimal": "0.5"}},
        "error": "ValueError: no answer with k-123456789 from https://ada:hunter2@host/x",
    }
    workspace.project().commit(lambda state: [start])
    lineart.tracking.log_draft(workspace, scenario.draft("net", {"w": "1"}, "model"), run="r1")
    workspace.project().commit(lambda state: [finish])
    return lineart.Api().artifact(f"{PROJECT}/net:v0")


@pytest.mark.parametrize("format_name", ["openlineage", "prov", "cyclonedx", "model-card", "graphml", "json"])
def test_secrets_of_a_run_are_in_no_export(model: lineart.Artifact, format_name: str) -> None:
    text = model.export(format_name)
    assert not [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize("format_name", ["openlineage", "prov", "cyclonedx", "model-card"])
def test_large_numbers_and_those_that_are_none_are_told_as_they_are(
    model: lineart.Artifact, format_name: str
) -> None:
    text = model.export(format_name)
    assert not [own for own in ("_int", "_float", "_decimal") if own in text]
    assert str(LARGE) in text
    if format_name in ("openlineage", "cyclonedx"):
        for line in text.splitlines() if format_name == "openlineage" else [text]:
            json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_metrics_that_json_does_not_have_are_numbers(model: lineart.Artifact) -> None:
    events = [json.loads(line) for line in model.export("openlineage").splitlines()]
    assert events[-1]["run"]["facets"]["lineart_result"]["metrics"] == {"f1": 0.5, "steps": LARGE}
    assert f"| steps | {LARGE} |" in model.export("model-card")


@pytest.mark.parametrize("format_name", ["cyclonedx", "croissant"])
def test_addresses_have_neither_password_nor_signature(
    model: lineart.Artifact, tmp_path: Path, format_name: str
) -> None:
    made = lineart.Artifact("far", "dataset")
    for number, address in enumerate(
        (
            "https://ada:hunter2@host/a.bin",
            "https://host/b.bin?X-Amz-Signature=abc123sig&part=1",
            "https://host/c.bin?token=abc123sig",
        )
    ):
        made.add_reference(address, name=f"{number}.bin", checksum=False)
    made.save()
    text = lineart.Api().artifact(f"{PROJECT}/far:v0").export(format_name)
    assert not [secret for secret in SECRETS if secret in text]
    if format_name == "cyclonedx":
        assert "https://host/a.bin" in text
        assert "&part=1" in text
