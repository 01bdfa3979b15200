"""`art exec`: what it records, what its command sees, how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

import lineart
from lineart.cli.child import Ended
from lineart.cli.executing import Output, child_environment, failure, find_program
from lineart.tracking.settings import find_settings

ART = Path(sys.executable).with_name("art")


def art_exec(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """`art exec` as a process of its own."""
    environ = {
        **os.environ,
        "PATH": f"{ART.parent}{os.pathsep}{os.environ['PATH']}",
        **options.pop("env", {}),
    }
    return subprocess.run(
        [ART, "exec", *arguments], capture_output=True, text=True, check=False, env=environ, **options
    )


def only_run(project: str = "default/uncategorized") -> Any:
    """The run that there is, as the Api has it."""
    runs = list(lineart.Api().runs(project))
    assert len(runs) == 1
    return runs[0]


def rows(query: str) -> list[Any]:
    return lineart.Api().sql(query).fetchall()


def output_of(run: Any) -> str:
    text: str = run.file("output.log").open().read().decode()
    return text


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def test_command_output_and_success_are_recorded() -> None:
    done = art_exec(
        "-p", "team/jobs", "--name", "n", "--group", "g", "--job-type", "j", "--tag", "t", "echo", "hello"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
    run = only_run("team/jobs")
    assert (run.name, run.state, run.tags) == ("n", "finished", ["t"])
    assert output_of(run) == "hello\n"
    capture, exit_code, group, job_type = rows(
        "SELECT capture, exit_code, group_name, job_type FROM runs WHERE project = 'team/jobs'"
    )[0]
    assert json.loads(capture)["command"] == ["echo", "hello"]
    assert (exit_code, group, job_type) == (0, "g", "j")


def test_failure_has_status_and_last_lines() -> None:
    done = art_exec("sh", "-c", "echo working; echo 'bad data' >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "working\n", "bad data\n")
    assert only_run().state == "failed"
    assert rows("SELECT exit_code, error FROM runs") == [(3, "exit status 3\nworking\nbad data")]


def test_killed_command_has_the_status_of_its_signal() -> None:
    assert art_exec("sh", "-c", "kill -9 $$").returncode == 137
    assert rows("SELECT state, exit_code, error FROM runs") == [("failed", 137, "killed by SIGKILL")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_reaches_the_command_and_the_run_is_ended(number: signal.Signals) -> None:
    code = (
        "import pathlib, signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit('stopped in time'))\n"
        "pathlib.Path('ready').touch()\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [ART, "exec", sys.executable, "-c", code], stderr=subprocess.PIPE, text=True
    ) as parent:
        for _ in range(300):
            if Path("ready").exists():
                break
            time.sleep(0.1)
        time.sleep(0.2)
        parent.send_signal(number)
        _, said = parent.communicate(timeout=30)
    assert parent.returncode == 1
    assert "stopped in time" in said
    assert rows("SELECT state, exit_code, error FROM runs") == [
        ("failed", 1, "exit status 1\nstopped in time")
    ]


def test_secrets_in_the_command_are_masked() -> None:
    art_exec("true", "--api-key", "abcdef123456", "TOKEN=xyz987654")
    (capture,) = rows("SELECT capture FROM runs")[0]
    assert json.loads(capture)["command"] == ["true", "--api-key", "***", "TOKEN=***"]


def test_progress_bar_is_kept_as_its_last_line() -> None:
    code = "import sys\nfor i in range(101): sys.stderr.write(f'\\r{i}%')\nsys.stderr.write('\\n')"
    done = art_exec(sys.executable, "-c", code)
    assert "50%" in done.stderr
    assert output_of(only_run()) == "100%\n"


def test_no_capture_keeps_the_status_and_no_output() -> None:
    done = art_exec("--no-capture", "sh", "-c", "echo hello; exit 4")
    assert (done.returncode, done.stdout) == (4, "hello\n")
    run = only_run()
    assert [file.name for file in run.files() if file.name == "output.log"] == []
    assert rows("SELECT error FROM runs") == [("exit status 4",)]


def test_output_is_not_recorded_where_that_is_switched_off() -> None:
    art_exec("echo", "hello", env={"WANDB_CONSOLE": "off"})
    assert [file.name for file in only_run().files() if file.name == "output.log"] == []


def test_config_is_json_or_text() -> None:
    art_exec("--config", "lr=0.1", "--config", "form=cosine", "--config", "layers=[1,2]", "true")
    assert dict(only_run().config) == {"lr": 0.1, "form": "cosine", "layers": [1, 2]}


def test_script_runs_with_this_python() -> None:
    Path("where.py").write_text("import sys; print(sys.executable, sys.argv)")
    done = art_exec("where.py", "--depth", "3")
    assert done.stdout == f"{sys.executable} ['where.py', '--depth', '3']\n"
    assert json.loads(rows("SELECT capture FROM runs")[0][0])["command"] == ["where.py", "--depth", "3"]


def test_script_is_kept_with_the_run_unless_that_is_switched_off() -> None:
    Path("train.py").write_text("print('hello')\n")
    art_exec("-p", "kept", sys.executable, "-u", "train.py")
    assert only_run("kept").file("code/train.py").open().read() == b"print('hello')\n"
    art_exec("-p", "not", "train.py", env={"WANDB_DISABLE_CODE": "true"})
    assert [file.name for file in only_run("not").files() if file.name.startswith("code/")] == []


@pytest.mark.parametrize(
    "command, status, message", [(["nope"], 127, "no command 'nope'"), (["./plain"], 126, "sh ./plain")]
)
def test_command_that_cannot_run_makes_no_run(command: list[str], status: int, message: str) -> None:
    Path("plain").write_text("echo hello")
    done = art_exec(*command)
    assert done.returncode == status
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not Path(os.environ["LINEART_STORE"]).exists()


def test_program_that_the_system_refuses_ends_the_run() -> None:
    Path("broken").write_text("#!/no/such/interpreter\n")
    Path("broken").chmod(0o755)
    done = art_exec("./broken")
    assert done.returncode == 126
    assert done.stderr.startswith("art: './broken': ")
    assert only_run().state == "failed"


def test_inputs_and_outputs_are_edges() -> None:
    Path("train.csv").write_text("1,2\n")
    with lineart.init(project="jobs") as run:
        run.log_artifact("train.csv", name="numbers", type="dataset")
    done = art_exec(
        "-p",
        "jobs",
        "--use",
        "numbers:latest=train",
        "--log",
        "out=factor:model",
        "sh",
        "-c",
        "mkdir out; echo 2 > out/f",
    )
    assert done.returncode == 0, done.stderr
    model = lineart.Api().artifact("jobs/factor:latest")
    assert model.type == "model"
    assert [version.name for version in model.upstream()] == ["numbers:v0"]
    assert rows("SELECT role FROM uses") == [("train",)]


def test_output_of_a_failure_is_not_logged() -> None:
    done = art_exec("--log", "out.txt=text:result", "sh", "-c", "echo > out.txt; false")
    assert done.returncode == 1
    assert not lineart.Api().artifact_exists("text")


def test_output_that_is_not_there_fails_the_run() -> None:
    done = art_exec("--log", "out.txt=text:result", "true")
    assert done.returncode == 1
    assert "out.txt" in done.stderr
    assert only_run().state == "failed"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--log", "model.bin=classifier"], "--log model.bin=classifier:model"),
        (["--log", "x=numbers:model"], "has type 'dataset', not 'model'"),
        (["--use", "nubmers"], "did you mean 'numbers'?"),
    ],
)
def test_mistake_is_told_before_the_command_runs(arguments: list[str], message: str) -> None:
    Path("data").write_text("1")
    with lineart.init() as run:
        run.log_artifact("data", name="numbers", type="dataset")
    done = art_exec(*arguments, "touch", "ran")
    assert done.returncode != 0
    assert message in done.stderr
    assert not Path("ran").exists()


@pytest.mark.parametrize("text", ["model.bin", "=name", "path=", "a=b:"])
def test_log_option_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="PATH=NAME"):
        Output.parse(text)


def test_path_of_an_output_may_have_an_equals_sign() -> None:
    assert Output.parse("lr=0.1/model=m:model") == Output("lr=0.1/model", "m", "model")


ATTACHED = """
import lineart
run = lineart.init(config={"depth": 3})
for step in range(3):
    run.log({"loss": 1 / (step + 1)})
run.summary["best"] = True
"""


def test_init_in_the_command_goes_on_with_its_run() -> None:
    Path("train.py").write_text(ATTACHED)
    done = art_exec("-p", "jobs", "--config", "lr=0.1", "train.py")
    assert done.returncode == 0, done.stderr
    run = only_run("jobs")
    assert dict(run.config) == {"lr": 0.1, "depth": 3}
    assert run.summary["best"] is True
    assert [row["loss"] for row in run.scan_history()] == [1, 1 / 2, 1 / 3]
    assert run.state == "finished"


def test_several_processes_of_the_command_write_its_run() -> None:
    Path("rank.py").write_text(
        "import os, lineart\n"
        "rank = os.environ['RANK']\n"
        "with lineart.init() as run:\n"
        "    for step in range(20): run.log({f'loss/{rank}': step}, step=step)\n"
    )
    loop = f"for r in 0 1 2; do RANK=$r {sys.executable} rank.py & done; wait"
    done = art_exec("-p", "jobs", "sh", "-c", loop)
    assert done.returncode == 0, done.stderr
    history = list(only_run("jobs").scan_history())
    for rank in range(3):
        assert sorted(row[f"loss/{rank}"] for row in history if f"loss/{rank}" in row) == list(range(20))


def test_failing_script_fails_the_run_and_keeps_what_it_logged() -> None:
    Path("train.py").write_text(ATTACHED + "raise ValueError('bad data')\n")
    done = art_exec("-p", "jobs", "train.py")
    assert done.returncode == 1
    run = only_run("jobs")
    assert run.state == "failed"
    assert run.summary["loss"] == 1 / 3
    assert "ValueError: bad data" in rows("SELECT error FROM runs")[0][0]


def test_put_and_get_in_the_command_are_edges_of_its_run() -> None:
    Path("data").mkdir()
    Path("data/a.txt").write_text("a")
    with lineart.init(project="jobs") as run:
        run.log_artifact("data", name="letters", type="dataset")
    script = (
        "art get letters:latest --root in && art cat letters/a.txt > /dev/null"
        " && cp -r in out && echo b >> out/a.txt && art put out -n words -t dataset"
    )
    done = art_exec("-p", "jobs", "--name", "shell", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    words = lineart.Api().artifact("jobs/words:latest")
    assert [version.name for version in words.upstream()] == ["letters:v0"]
    assert rows("SELECT name FROM runs JOIN productions USING (run_id) WHERE version_id LIKE '%words%'") == [
        ("shell",)
    ]


def test_get_from_another_project_is_recorded_in_both() -> None:
    Path("a.txt").write_text("a")
    with lineart.init(project="source") as run:
        run.log_artifact("a.txt", name="letters", type="dataset")
    assert art_exec("-p", "jobs", "--id", "r1", "art", "get", "source/letters:v0").returncode == 0
    assert rows("SELECT DISTINCT run_id FROM uses") == [("default/jobs/r1",)]
    assert lineart.Api().artifact("source/letters:v0").used_by()


def test_exec_in_an_exec_is_a_run_of_its_own() -> None:
    done = art_exec("-p", "jobs", "--id", "outer", "art", "exec", "--id", "inner", "echo", "hello")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert {run.id for run in lineart.Api().runs("jobs")} == {"outer", "inner"}


def test_run_is_resumed_by_its_id() -> None:
    Path("train.py").write_text("import lineart\nlineart.init().log({'x': 1})\n")
    for _ in range(2):
        assert art_exec("-p", "jobs", "--id", "r1", "--resume", "allow", "train.py").returncode == 0
    assert [row["_step"] for row in only_run("jobs").scan_history()] == [0, 1]
    assert art_exec("-p", "jobs", "--id", "r1", "--resume", "never", "true").returncode == 2


def test_options_of_the_command_are_the_commands() -> None:
    assert art_exec("echo", "-p", "x", "--id", "--", "--debug").stdout == "-p x --id -- --debug\n"


def test_path_of_python_stays_behind_the_alias(tmp_path: Path) -> None:
    run = lineart.init()
    settings = find_settings()
    environ = child_environment(run, settings, {"PYTHONPATH": "/mine"}, alias=True)
    assert environ["PYTHONPATH"].split(os.pathsep)[1:] == ["/mine"]
    assert environ["WANDB_PROJECT"] == run.project
    environ = child_environment(run, settings, {"PYTHONPATH": "/mine", "WANDB_PROJECT": "p"}, alias=False)
    assert (environ["PYTHONPATH"], environ["WANDB_PROJECT"]) == ("/mine", "p")
    run.finish()


def test_program_is_found_as_a_shell_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_program(["sh", "-c", "x"])[1] == ["sh", "-c", "x"]
    assert find_program(["sh"])[0].endswith("/sh")


def test_reason_names_the_signal() -> None:
    assert failure(Ended(139, "SIGSEGV"), ["last"]) == "killed by SIGSEGV\nlast"
