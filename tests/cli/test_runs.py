"""`art run`: list, show, compare, follow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import lineart
from lineart.cli.run_details import _start_of, flat
from lineart.cli.runs import simple_filter

ART = Path(sys.executable).with_name("art")


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Four runs in the project ``tune``, the last one failed; their ids, oldest first."""
    monkeypatch.setenv("LINEART_PROJECT", "tune")
    for number in range(3):
        with lineart.init(
            id=f"t{number}",
            name="a b" if number else "first",
            config={"lr": number / 10, "net": {"depth": number}},
            tags=["even", "x"] if number % 2 == 0 else [],
        ) as run:
            for step in range(3):
                run.log({"acc": number / 4 + step / 100, "loss": 1 - step / 4})
            made = lineart.Artifact("data", "dataset")
            with made.new_file("f") as stream:
                stream.write("same")
            run.log_artifact(made) if not number else run.use_artifact("data:v0", role="train")
            Path(run.dir, "output.log").write_text("".join(f"line {i}\n" for i in range(30)))
    with pytest.raises(ZeroDivisionError), lineart.init(id="t3", name="broken", settings={"console": "off"}):
        1 / 0  # noqa: B018
    return ["t0", "t1", "t2", "t3"]


def test_runs_are_listed_newest_first(art, trials: list[str]) -> None:
    answer = art("run", "ls")
    assert answer.lines[0].split() == [
        "ID",
        "NAME",
        "STATE",
        "AGE",
        "DURATION",
        "USER",
        "ACC",
        "LOSS",
        "TAGS",
    ]
    assert [row[0] for row in answer.rows] == ["t3", "t2", "t1", "t0"]
    cells = [line.split(" ") for line in answer.lines]
    assert "a\u00a0b" in cells[2]  # one cell for people and awk
    assert answer.rows[0][2] == "failed"
    assert answer.rows[3][-1] == "even,x"


@pytest.mark.parametrize(
    "filters, ids",
    [
        (["config.lr=0.1"], ["t1"]),
        (["config.net.depth>=1", "state=finished"], ["t2", "t1"]),
        (["summary.acc>0.4"], ["t2"]),
        (["tags=even"], ["t2", "t0"]),
        (["tags!=even"], ["t3", "t1"]),
        (["name=a b"], ["t2", "t1"]),
        (["name~^a"], ["t2", "t1"]),
        (["name!~^a"], ["t3", "t0"]),
        (["id=t0"], ["t0"]),
        (["created_at>1d"], ["t3", "t2", "t1", "t0"]),
        (["created_at<2020-01-01"], []),
        (["duration<1h"], ["t3", "t2", "t1", "t0"]),
        (["--filter", '{"$or": [{"name": "t0"}, {"config.lr": 0.2}]}'], ["t2", "t0"]),
        (["--order", "-summary.acc"], ["t2", "t1", "t0", "t3"]),
        (["--order", "name,config.lr", "-n", "3"], ["t1", "t2", "t3"]),
    ],
)
def test_filters_and_orders(art, trials: list[str], filters: list[str], ids: list[str]) -> None:
    assert [run["id"] for run in art("run", "ls", *filters, "--json").json] == ids


def test_columns_are_those_asked_for(art, trials: list[str]) -> None:
    answer = art("run", "ls", "--columns", "id,name,config.net.depth,tags,notes", "--order", "id")
    assert answer.lines[0].split() == ["ID", "NAME", "CONFIG.NET.DEPTH", "TAGS", "NOTES"]
    assert answer.rows[0] == ["t0", "first", "0", "even,x", "-"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["lr=1"], "unknown key 'lr'; settings are config.lr"),
        (["config.lr"], "expected KEY=VALUE"),
        (["=1"], "expected KEY=VALUE"),
        (["--filter", "{"], "--filter is not JSON"),
        (["--filter", "[1]"], "expected a JSON object"),
        (["--order", "acc"], "order: unknown key 'acc'"),
        (["--columns", "acc"], "--columns: unknown key 'acc'"),
        (["name~("], "$regex '('"),
        (["created_at>soon"], "expected a time"),
    ],
)
def test_query_that_is_wrong_is_refused(art, trials: list[str], arguments: list[str], message: str) -> None:
    assert message in art("run", "ls", *arguments, status=2).err


def test_value_is_json_or_text() -> None:
    assert simple_filter("config.x=true") == {"config.x": {"$eq": True}}
    assert simple_filter('config.x="1"') == {"config.x": {"$eq": "1"}}
    assert simple_filter("config.x=a=b") == {"config.x": {"$eq": "a=b"}}
    assert simple_filter("config.x = 1e-3") == {"config.x": {"$eq": 0.001}}
    assert simple_filter("name=123") == {"display_name": {"$eq": "123"}}
    assert simple_filter("group=null") == {"group": {"$eq": None}}
    assert simple_filter("duration>=2m") == {"duration": {"$gte": 120.0}}
    with pytest.raises(click.UsageError):
        simple_filter("~x")


def test_project_without_runs_is_listed_empty(art, trials: list[str]) -> None:
    assert art("run", "ls", "-p", "other").out == ""
    assert art("run", "ls", "-p", "other", "--json").json == []


def test_show_tells_all_about_a_run(art, trials: list[str]) -> None:
    out = art("run", "show", "t2").out
    for part in ("t2  a b  finished", "net.depth", "data:v0 as train", "output.log", "command", "even, x"):
        assert part in out
    found = art("run", "show", "first", "--json").json
    assert found["id"] == "t0"
    assert found["logged"] == [{"name": "default/tune/data:v0", "role": None}]
    assert found["config"]["net"] == {"depth": 0}
    assert {"path": "output.log", "size_bytes": 230} in found["files"]
    assert "ZeroDivisionError" in art("run", "show", "default/tune/t3").out


def test_run_that_cannot_be_told_is_refused(art, trials: list[str]) -> None:
    assert (
        "2 runs in default/tune are named 'a b'; give the id of one: t2, t1"
        in art("run", "show", "a b", status=2).err
    )
    assert "did you mean 'first'" in art("run", "show", "fist", status=1).err
    assert (
        "does not exist in default/other; there are none yet" in art("run", "show", "other/t1", status=1).err
    )


def test_difference_of_two_runs(art, trials: list[str]) -> None:
    out = art("run", "diff", "t0", "t1").out
    assert "net.depth  0 → 1" in out
    assert "+ default/tune/data:v0" in out
    found = art("run", "diff", "t0", "t2", "--json").json
    assert found["config"]["lr"] == [0, 0.2]
    assert found["inputs"] == {"removed": [], "added": ["default/tune/data:v0"]}
    assert "no difference" in art("run", "diff", "t0", "t0", "--exit-code").out
    art("run", "diff", "t0", "t1", "--exit-code", status=1)


def test_history_as_table_csv_and_json(art, trials: list[str]) -> None:
    answer = art("run", "history", "t1")
    assert answer.lines[0].split() == ["_step", "_timestamp", "_runtime", "acc", "loss"]
    assert [row[3] for row in answer.rows] == ["0.25", "0.26", "0.27"]
    lines = art("run", "history", "t1", "--csv", "-k", "loss").lines
    assert lines[0] == "_step,_timestamp,_runtime,loss"
    assert [line.split(",")[-1] for line in lines[1:]] == ["1.0", "0.75", "0.5"]
    rows = art("run", "history", "t1", "--json", "--samples", "2").json
    assert len(rows) == 2
    assert "did you mean 'acc'" in art("run", "history", "t1", "-k", "ac", status=1).err
    assert "choose one" in art("run", "history", "t1", "--json", "--csv", status=2).err
    assert art("run", "history", "t3", "--json").json == []


def test_numbers_that_json_does_not_have_are_text(art, trials: list[str]) -> None:
    with lineart.init(id="odd") as run:
        run.log({"x": float("nan"), "y": float("-inf")})
    (row,) = art("run", "history", "odd", "--json").json
    assert (row["x"], row["y"]) == ("nan", "-inf")
    assert art("run", "history", "odd").rows[0][3:] == ["nan", "-inf"]


def test_tail_of_the_console(art, trials: list[str]) -> None:
    assert art("run", "tail", "t1").lines == [f"line {i}" for i in range(10, 30)]
    assert art("run", "tail", "t1", "-n", "2").lines == ["line 28", "line 29"]
    assert len(art("run", "tail", "t1", "-n", "1000").lines) == 30
    assert art("run", "tail", "t1", "-n", "0").out == ""
    assert art("run", "tail", "t1", "-f", "-n", "1").lines == ["line 29"]
    assert "has no console output" in art("run", "tail", "t3", status=1).err


def test_tail_follows_until_the_run_ends(trials: list[str]) -> None:
    run = lineart.init(id="live", settings={"console": "off"})
    log = Path(run.dir, "output.log")
    log.write_text("one\n")
    follower = subprocess.Popen(
        [ART, "run", "tail", "live", "-f"], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert follower.stdout is not None
    assert follower.stdout.readline() == "one\n"
    with log.open("a") as stream:
        stream.write("two\n")
    assert follower.stdout.readline() == "two\n"
    with log.open("a") as stream:
        stream.write("three\n")
    run.finish()
    out, _ = follower.communicate(timeout=60)
    assert out == "three\n"
    assert follower.returncode == 0


def test_running_run_is_shown_as_it_is_now(art, trials: list[str]) -> None:
    run = lineart.init(id="now")
    run.log({"acc": 0.99})
    assert [row["id"] for row in art("run", "ls", "state=running", "summary.acc>0.9", "--json").json] == [
        "now"
    ]
    run.finish()


def test_last_lines_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(b"".join(b"%06d\n" % i for i in range(50_000)) + b"no end")
    with path.open("rb") as stream:
        for lines, start in ((1, b"no end"), (2, b"049999\n"), (20_000, b"030001\n"), (10**6, b"000000\n")):
            stream.seek(_start_of(stream, lines))
            assert stream.readline() == start


def test_nested_values_get_names_with_dots() -> None:
    assert flat({"a": {"b": {"c": 1}}, "d": [1], "e": {"_type": "table"}}) == {
        "a.b.c": 1,
        "d": [1],
        "e": {"_type": "table"},
    }


def test_each_command_has_an_example_in_its_help(art) -> None:
    for command in ("ls", "show", "diff", "tail", "history"):
        assert (
            f"art run {command}" in art("run", command, "--help").out.split("Options:")[0].split("\n", 1)[1]
        )


def test_ids_and_names_are_completed(trials: list[str]) -> None:
    for typed, offered in (("t", ["t3", "t2", "t1", "t0"]), ("fir", ["first"]), ("tune/t1", ["tune/t1"])):
        line = f"art run show {typed}"
        variables = {"_ART_COMPLETE": "zsh_complete", "COMP_WORDS": line, "COMP_CWORD": "3"}
        done = subprocess.run(
            [ART], env={**os.environ, **variables}, capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[1::3] == offered
