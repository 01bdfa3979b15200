"""Links: a version in another collection that shares the content and remembers where it came from."""

from __future__ import annotations

import os
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

import builders
import lineart
import scenario
from builders import HANG_S, SPAWN
from lineart.artifacts.names import ArtifactName, ProjectName
from lineart.artifacts.project import Project, decode_checkpoint, encode_checkpoint
from lineart.lineage import impact
from lineart.storage.errors import (
    ArtifactNotLoggedError,
    InvalidNameError,
    NotFoundError,
    UsageError,
)
from lineart.tracking.links import link_version

TARGET = "model-registry/churn"
LINK = "default/model-registry/churn:v0"


def logged(name: str = "classifier", text: str = "w", **fields: Any) -> lineart.Artifact:
    """A model that a run has made from data."""
    with lineart.init(project="default/train", id=f"make-{name}-{text}") as run:
        return run.log_artifact(scenario.draft(name, {"weights": text}, type="model", **fields))


def api() -> lineart.Api:
    return lineart.Api()


@pytest.mark.parametrize(
    "target, full",
    [
        ("model-registry/churn", LINK),
        ("team/model-registry/churn", "team/model-registry/churn:v0"),
        ("wandb-registry-model/churn", "default/wandb-registry-model/churn:v0"),
        ("shown", "default/train/shown:v0"),
    ],
)
def test_link_makes_what_is_missing(target: str, full: str) -> None:
    model = logged(metadata={"auc": 0.9}, description="d")
    with lineart.init(project="default/train") as run:
        link = run.link_artifact(model, target, aliases=["staging"])
    assert (link.qualified_name, link.type, link.digest) == (full, "model", model.digest)
    assert (link.metadata, link.description, link.aliases) == ({"auc": 0.9}, "d", ["latest", "staging"])
    assert link.is_link
    assert not model.is_link
    assert (link.source_name, link.source_project, link.source_version) == (
        "classifier:v0",
        "train",
        "v0",
    )
    assert link.source_artifact.qualified_name == model.qualified_name
    assert [a.qualified_name for a in api().artifact(model.qualified_name).linked_artifacts] == [full]
    assert link.logged_by() == model.logged_by() == "default/train/make-classifier-w"
    assert link.open("weights").read() == b"w"


def test_link_is_used_by_its_alias_and_shows_in_lineage() -> None:
    model = logged()
    model.link(TARGET, aliases=["staging"])
    with lineart.init(project="default/serve", id="serve") as run:
        used = run.use_artifact(f"{TARGET}:staging")
        scores = run.log_artifact(scenario.draft("scores", {"s": "1"}))
    assert used.qualified_name == LINK
    assert [a.qualified_name for a in scores.upstream()] == [LINK, model.qualified_name]
    graph = used.lineage()
    assert graph.edges[model.qualified_name, LINK, 0]["kind"] == "linked"
    assert [a.name for a in model.downstream()] == ["churn:v0", "scores:v0"]
    assert [a.name for a in model.downstream(depth=1)] == ["churn:v0"]
    assert [a.name for a in used.upstream(depth=1)] == ["classifier:v0"]
    catalog = scenario.workspace().catalog()
    found = impact(catalog, model.qualified_name)
    assert found.versions[0]["id"] == LINK
    assert "churn:staging" in found.aliases


def test_same_source_linked_again_only_moves_aliases() -> None:
    model = logged()
    link = model.link(TARGET, aliases=["staging"])
    link.description = "said of the link"
    link.save()
    again = model.link(TARGET, aliases=["production"])
    assert again.qualified_name == LINK
    assert (again.description, again.aliases) == ("said of the link", ["latest", "production", "staging"])
    project = scenario.workspace("default/train").project()
    project.state()
    before = project.position
    model.link(TARGET, aliases=["production"])
    project.state()
    assert project.position == before  # nothing new for the source's log either


def test_second_version_becomes_the_next_number() -> None:
    logged().link(TARGET, aliases=["production"])
    second = logged(text="w2").link(TARGET, aliases=["production"])
    assert (second.version, second.source_name) == ("v1", "classifier:v1")
    assert api().artifact(f"{TARGET}:production").version == "v1"


def test_link_of_a_link_is_one_of_its_source() -> None:
    model = logged()
    second = model.link(TARGET).link("shop/best")
    assert second.source_qualified_name == model.qualified_name
    links = {a.qualified_name for a in second.linked_artifacts}
    assert links == {LINK, "default/shop/best:v0"}


def test_same_content_from_elsewhere_makes_no_second_version_and_no_cycle() -> None:
    first = logged()
    link = first.link(TARGET)
    with lineart.init(project="default/train", id="copy") as run:
        run.use_artifact(link)
        copy = run.log_artifact(scenario.draft("copy", {"weights": "w"}, type="model"))
    again = copy.link(TARGET)
    assert (again.qualified_name, again.source_name) == (LINK, "classifier:v0")
    import networkx as nx

    assert nx.is_directed_acyclic_graph(again.lineage())
    rows = api().sql("SELECT source_id, is_new FROM links ORDER BY 1").fetchall()
    assert rows == [("default/train/classifier:v0", True), ("default/train/copy:v0", False)]


def test_run_logs_a_draft_before_it_links_it() -> None:
    with lineart.init(project="default/train", id="r") as run:
        link = run.link_artifact(scenario.draft("m", {"f": "1"}, type="model"), TARGET)
    assert link.source_name == "m:v0"
    assert api().sql("SELECT run_id FROM links").fetchall() == [("default/train/r",)]


def test_version_may_be_linked_by_its_name() -> None:
    logged()
    with lineart.init(project="default/train") as run:
        assert run.link_artifact("classifier:latest", TARGET).source_name == "classifier:v0"


def test_link_with_references_lists_them_in_the_catalog(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("1")
    data = lineart.Artifact("data", "dataset")
    data.add_reference(f"file://{tmp_path / 'f'}", "f")
    data.save()
    link = data.link("shown/data")
    rows = api().sql("SELECT path FROM version_references WHERE version_id = ?", [link.qualified_name])
    assert rows.fetchall() == [("f",)]


@pytest.mark.parametrize(
    "target, error, message",
    [
        ("model-registry/churn:v3", InvalidNameError, "without an alias; pass aliases="),
        ("a/b/c/d", InvalidNameError, "artifact name"),
        ("default/train/classifier", UsageError, "its own collection"),
        ("bad name", InvalidNameError, "artifact name"),
        (3, InvalidNameError, "artifact name 3"),
    ],
)
def test_target_that_cannot_be_is_refused_before_anything_is_logged(
    target: Any, error: type[Exception], message: str
) -> None:
    logged()
    with lineart.init(project="default/train") as run, pytest.raises(error, match=message):
        run.link_artifact("classifier:v0", target)
    with lineart.init(project="default/train") as run:
        if error is InvalidNameError:
            with pytest.raises(error):
                run.link_artifact(scenario.draft("new", {"f": "1"}), target)
            assert not api().artifact_exists("train/new")


def test_other_mistakes_are_told() -> None:
    model = logged()
    with pytest.raises(ArtifactNotLoggedError):
        scenario.draft("d", {"f": "1"}).link(TARGET)
    with pytest.raises(UsageError, match="expected a list such as"):
        model.link(TARGET, aliases="staging")
    scenario.logged("elsewhere", {"f": "1"})
    with pytest.raises(UsageError, match="has type 'dataset', not 'model'"):
        model.link("default/uncategorized/elsewhere")
    with pytest.raises(UsageError, match="is no link"):
        model.unlink()


# Deleting


def test_version_that_is_linked_elsewhere_is_not_deleted() -> None:
    model = logged()
    link = model.link(TARGET)
    for delete_aliases in (False, True):
        with pytest.raises(UsageError, match=rf"is linked as {LINK}; remove the links first"):
            model.delete(delete_aliases=delete_aliases)
    link.unlink()
    assert (link.state, model.linked_artifacts) == ("deleted", [])
    model.delete()
    assert model.state == "deleted"


def test_source_with_a_link_that_was_deleted_otherwise_can_be_deleted() -> None:
    model = logged()
    link = model.link(TARGET)
    history = scenario.History(scenario.workspace().store, ProjectName("default", "model-registry"))
    history.delete(link.qualified_name)  # as a client does that knows nothing of links
    model.delete()
    assert model.state == "deleted"


def test_delete_of_a_link_frees_its_source() -> None:
    model = logged()
    model.link(TARGET, aliases=["staging"]).delete(delete_aliases=True)
    assert scenario.workspace("default/train").version("classifier:v0").state.links == ()


def test_deleted_link_stays_in_lineage_as_a_tombstone() -> None:
    model = logged()
    model.link(TARGET).unlink()
    found = model.downstream()
    assert [(a.name, a.state) for a in found] == [("churn:v0", "deleted")]


# Crashes, checkpoints, races


def test_link_that_was_cut_between_the_logs_is_completed_when_it_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = logged()

    class Cut(BaseException):
        """The process is gone."""

    def die(*_: object, **__: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr("lineart.tracking.links.decide_link_record", die)
        with pytest.raises(Cut):
            model.link(TARGET, aliases=["staging"])
    link = api().artifact(f"{TARGET}:staging")
    assert link.source_qualified_name == model.qualified_name
    assert [a.name for a in link.upstream()] == ["classifier:v0"]  # the target's log is enough
    assert api().artifact(model.qualified_name).linked_artifacts == []
    assert model.link(TARGET).qualified_name == LINK
    assert [a.qualified_name for a in model.linked_artifacts] == [LINK]
    assert api().sql("SELECT is_new FROM links").fetchall() == [(True,)]


def test_links_are_in_a_checkpoint() -> None:
    logged().link(TARGET)
    workspace = scenario.workspace("default/train")
    for name in (ProjectName("default", "train"), ProjectName("default", "model-registry")):
        project = Project(workspace.store, name)
        state = project.state()
        assert decode_checkpoint(encode_checkpoint(state, project.position))[0] == state


def link_many(folder: str, worker: int, start: Barrier) -> None:
    os.environ.update(builders.environment(Path(folder)))
    workspace = scenario.workspace("default/train")
    start.wait(HANG_S)
    for number in range(4):
        name = ArtifactName(workspace.project_name, "classifier", f"v{number}")
        link_version(workspace, name, TARGET, [f"from-{worker}", f"n-{number}"])


def test_racing_links_double_a_version_or_lose_an_alias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in builders.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    for number in range(4):
        logged(text=f"{number}")
    start = SPAWN.Barrier(8)
    processes = [SPAWN.Process(target=link_many, args=(str(tmp_path), n, start)) for n in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(HANG_S)
        assert process.exitcode == 0
    links = api().artifacts("model", TARGET)
    assert sorted(a.source_name for a in links) == [f"classifier:v{n}" for n in range(4)]
    for number in range(4):
        assert api().artifact(f"{TARGET}:n-{number}").source_version == f"v{number}"
        source = api().artifact(f"default/train/classifier:v{number}")
        assert len(source.linked_artifacts) == 1
    for worker in range(8):
        assert api().artifact(f"{TARGET}:from-{worker}").source_version == "v3"


def test_deleted_source_is_not_linked() -> None:
    model = logged()
    model.delete()
    with pytest.raises(NotFoundError, match="was deleted"):
        model.link(TARGET)
