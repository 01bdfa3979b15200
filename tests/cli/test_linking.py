"""`art link`."""

from __future__ import annotations

from pathlib import Path

import pytest


def test_link_is_made_with_its_aliases(art, digits: Path) -> None:
    assert (
        art("link", "classifier:v1", "model-registry/churn", "-a", "staging", "-a", "best").out
        == "default/model-registry/churn:v0  [latest, best, staging]  from default/digits/classifier:v1\n"
    )
    found = art("link", "classifier:v1", "model-registry/churn", "-a", "production", "--json").json
    assert found == {
        "name": "default/model-registry/churn:v0",
        "source": "default/digits/classifier:v1",
        "aliases": ["latest", "best", "production", "staging"],
    }


def test_lineage_and_impact_follow_the_link(art, digits: Path) -> None:
    art("link", "classifier:v1", "model-registry/churn", "-a", "staging")
    tree = art("lineage", "model-registry/churn:staging").out
    assert "classifier:v1" in tree
    assert "linked" in tree
    assert "images:v1" in tree
    assert "churn:staging" in art("impact", "classifier:v1").out
    edges = art("lineage", "model-registry/churn:staging", "--json").json["edges"]
    assert {"linked"} <= {edge["kind"] for edge in edges}
    assert "linked" in art("lineage", "classifier:v1", "--mermaid").out
    assert "linked" in art("lineage", "classifier:v1", "--dot").out


def test_linked_version_is_not_deleted(art, digits: Path) -> None:
    art("link", "classifier:v0", "model-registry/churn")
    answer = art("rm", "classifier:v0", "--yes", status=2)
    assert "is linked as default/model-registry/churn:v0" in answer.err


@pytest.mark.parametrize(
    "arguments, status, message",
    [
        (["classifier:v9", "a/b"], 1, "has no v9"),
        (["classifier:v1", "classifier"], 2, "its own collection"),
        (["classifier:v1", "a/b:v1"], 2, "without an alias"),
        (["classifier:v1", "images"], 2, "has type 'dataset', not 'model'"),
        (["classifier:v1", "a/b", "-a", "v3"], 2, "alias 'v3'"),
    ],
)
def test_link_mistakes(arguments: list[str], status: int, message: str, art, digits: Path) -> None:
    assert message in art("link", *arguments, status=status).err
