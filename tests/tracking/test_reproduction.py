"""Making a version anew: from saved code, from a commit, by other commands; and what cannot be made anew says why."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import lineart
import scenario
from lineart.tracking import log_draft
from lineart.tracking.reproduction import Outcome, Reproduction, find_reproduction, reproduce
from lineart.tracking.reproduction.environment import child_environment
from lineart.tracking.reproduction.plan import started

TRAIN = """
import sys, lineart
with lineart.init(project="team/digits", name="train") as run:
    data = run.use_artifact("data:latest", role="train")
    text = data.open("x.csv", "r").read()
    model = lineart.Artifact("model", "model")
    with model.new_file("w") as file:
        file.write(text * int(sys.argv[1]))
    run.log_artifact(model)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a first version of the data in the store."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with lineart.init(project="team/digits", settings={"git": False}) as run:
        run.log_artifact(scenario.draft("data", {"x.csv": "1,2\n"}))
    return folder


def run_python(place: Path, *words: str) -> None:
    """Run a script as people do, in a process of its own."""
    done = subprocess.run([sys.executable, *words], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def change_data() -> None:
    with lineart.init(project="team/digits", settings={"git": False}) as run:
        run.log_artifact(scenario.draft("data", {"x.csv": "3,4\n"}))


def way(name: str, at: Path | None = None) -> Reproduction:
    workspace = scenario.workspace()
    return find_reproduction(workspace, workspace.version(name, deleted_too=True), at=at)


def again(found: Reproduction, folder: Path, *, use_present: bool = True) -> Outcome:
    return reproduce(found, scenario.workspace(), folder, environ=os.environ, use_present=use_present)


def git(place: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=place, check=True, capture_output=True)


# From saved code


def test_saved_code_makes_the_same_from_the_data_of_then(place: Path, tmp_path: Path) -> None:
    (place / "train.py").write_text(TRAIN)
    run_python(place, str(place / "train.py"), "3")
    change_data()
    (place / "train.py").unlink()
    found = way("model:v0")
    assert found.command == ("python", "train.py", "3")
    assert [(item.name, item.role, item.aliases) for item in found.inputs] == [
        ("team/digits/data:v0", "train", ("latest",))
    ]
    known = len(lineart.Api().runs("team/digits"))
    outcome = again(found, tmp_path / "fresh")
    assert (outcome.verdict, outcome.made) == ("same", found.digest)
    assert len(lineart.Api().runs("team/digits")) == known, "it has logged into the store of others"
    assert (tmp_path / "fresh/work/artifacts/data-v0/x.csv").read_text() == "1,2\n"


def test_other_content_is_told_with_its_files(place: Path, tmp_path: Path) -> None:
    (place / "train.py").write_text(
        TRAIN.replace("text * int(sys.argv[1])", '__import__("uuid").uuid4().hex')
    )
    run_python(place, "train.py")
    outcome = again(way("model:v0"), tmp_path / "fresh")
    assert outcome.verdict == "differs"
    assert outcome.differences is not None
    assert [(change.what, change.path) for change in outcome.differences.changes] == [("changed", "w")]


def test_second_output_is_compared_with_the_second(place: Path, tmp_path: Path) -> None:
    code = """
import lineart, uuid
with lineart.init(project="team/digits") as run:
    for name in ("a", "b"):
        model = lineart.Artifact("model", "model")
        with model.new_file(name) as file:
            file.write(uuid.uuid4().hex)
        run.log_artifact(model)
"""
    (place / "train.py").write_text(code)
    run_python(place, "train.py")
    outcome = again(way("model:v1"), tmp_path / "fresh")
    assert outcome.differences is not None
    assert [(change.what, change.path) for change in outcome.differences.changes] == [("changed", "b")]


def test_code_artifact_brings_modules_back(place: Path, tmp_path: Path) -> None:
    (place / "parts.py").write_text("FACTOR = 2\n")
    (place / "train.py").write_text(
        "import parts\n" + TRAIN.replace("sys.argv[1]", "parts.FACTOR") + "    run.log_code()\n"
    )
    run_python(place, "train.py")
    assert again(way("model:v0"), tmp_path / "fresh").verdict == "same"


def test_code_artifact_goes_to_where_its_code_lay(place: Path, tmp_path: Path) -> None:
    for name in ("src", "lib"):
        (place / name).mkdir()
        (place / name / f"of_{name}.py").write_text("FACTOR = 2\n")
    head = "import sys\nsys.path += ['src', 'lib']\nimport of_src, of_lib\n"
    code = TRAIN.replace("int(sys.argv[1])", "of_src.FACTOR * of_lib.FACTOR")
    (place / "train.py").write_text(f'{head}{code}    run.log_code("src")\n    run.log_code("lib")\n')
    run_python(place, "train.py")
    found = way("model:v0")
    assert again(found, tmp_path / "fresh").verdict == "same"
    assert (tmp_path / "fresh/work/lib/of_lib.py").is_file()
    assert [line.split()[4] for line in found.steps[0].lines if line.startswith("art get")] == [
        "work/src",
        "work/lib",
    ]
    code_roots = dict.fromkeys(found.code.artifacts, "../../away")
    outside = replace(found, code=replace(found.code, roots=code_roots))
    assert {outside.folder_of(name) for name in code_roots} == {"work"}


def test_run_that_was_resumed_is_noted(place: Path) -> None:
    (place / "train.py").write_text(TRAIN.replace("init(", 'init(id="one", resume="allow", '))
    run_python(place, "train.py", "1")
    assert way("model:v0").notes == ()
    run_python(place, "train.py", "2")
    assert "resumed" in way("model:v1").notes[0]


def test_code_of_c_is_run_again(place: Path, tmp_path: Path) -> None:
    run_python(place, "-c", TRAIN, "2")
    assert again(way("model:v0"), tmp_path / "fresh").verdict == "same"


OWN = """
import lineart
with lineart.init(project="team/digits") as run:
    def more():
        text = run.use_artifact("data:latest").open("x.csv", "r").read()
        data = lineart.Artifact("data", "dataset")
        with data.new_file("x.csv") as file:
            file.write(text + "5,6\\n")
        run.log_artifact(data).wait()
    more()
    more()
    text = run.use_artifact("data:latest").open("x.csv", "r").read()
    model = lineart.Artifact("model", "model")
    with model.new_file("w") as file:
        file.write(text)
    run.log_artifact(model)
"""


def test_what_the_run_made_itself_is_not_there_before_it(place: Path, tmp_path: Path) -> None:
    (place / "train.py").write_text(OWN)
    run_python(place, "train.py")
    found = way("model:v0")
    assert [(item.name, item.aliases) for item in found.inputs] == [("team/digits/data:v0", ("latest",))]
    assert (again(found, tmp_path / "fresh").verdict, found.notes) == ("same", ())
    run_python(place, "train.py")
    known = way("model:v1")
    assert [item.name for item in known.inputs] == ["team/digits/data:v2"]
    assert again(known, tmp_path / "second").verdict == "same"


def test_content_that_was_there_before_the_run_logged_it_again_moves_no_alias(
    place: Path, tmp_path: Path
) -> None:
    (place / "train.py").write_text(OWN.replace("text + ", ""))
    change_data()
    with lineart.init(project="team/digits", settings={"git": False}) as run:
        run.log_artifact(scenario.draft("data", {"x.csv": "5,6\n"}))
    change_data()  # latest goes back to v1
    run_python(place, "train.py")
    found = way("model:v0")
    assert [(item.name, item.aliases) for item in found.inputs] == [
        ("team/digits/data:v1", ("latest",)),
        ("team/digits/data:v2", ()),
    ]
    assert (again(found, tmp_path / "fresh").verdict, found.notes) == ("same", ())


def test_alias_that_others_moved_during_the_run_is_noted(place: Path) -> None:
    with lineart.init(project="team/digits", settings={"git": False}) as run:
        run.use_artifact("data:latest")
        log_draft(scenario.workspace(), scenario.draft("data", {"x.csv": "3,4\n"}))
        run.use_artifact("data:latest")
        run.log_artifact(scenario.draft("model", {"w": "1"}))
    found = way("model:v0")
    assert [item.aliases for item in found.inputs] == [("latest",), ()]
    assert "alias latest of data moved from v0 to v1 during the run" in found.notes[0]
    steps = replace(found, obstacles=()).steps
    lines = next(step for step in steps if step.kind == "inputs").lines
    assert [line.split()[1] for line in lines] == ["init", "pull", "pull", "alias", "get", "get"]


def test_link_is_made_anew_as_its_source(place: Path) -> None:
    (place / "train.py").write_text(TRAIN)
    run_python(place, "train.py", "1")
    lineart.Api().artifact("team/digits/model:v0").link("team/model-registry/churn")
    found = lineart.Api().artifact("team/model-registry/churn:v0").reproduction()
    assert found.version == "team/digits/model:v0"
    assert "python train.py 1" in found.script.replace('"$here/venv/bin/python"', "python")


def test_input_by_its_registered_name_is_found_under_that_name(place: Path, tmp_path: Path) -> None:
    lineart.Api().artifact("team/digits/data:v0").link("team/model-registry/gold", aliases=["approved"])
    (place / "train.py").write_text(TRAIN.replace("data:latest", "team/model-registry/gold:approved"))
    run_python(place, "train.py", "2")
    found = way("model:v0")
    assert [(item.name, item.aliases) for item in found.inputs] == [
        ("team/model-registry/gold:v0", ("approved", "latest"))
    ]
    assert again(found, tmp_path / "fresh").verdict == "same"


# From a commit


@pytest.fixture
def repository(place: Path) -> Path:
    """A repository with a package and a script in a folder below, of which a change is not committed."""
    git(place, "init", "-q")
    (place / "sub").mkdir()
    (place / "sub/parts.py").write_text("FACTOR = 1\n")
    (place / "sub/train.py").write_text("import parts\n" + TRAIN.replace("sys.argv[1]", "parts.FACTOR"))
    git(place, "add", ".")
    git(place, "commit", "-q", "-m", "first")
    (place / "sub/parts.py").write_text("FACTOR = 5\n")
    return place


def test_commit_and_what_was_not_committed_come_back(repository: Path, tmp_path: Path) -> None:
    run_python(repository / "sub", "train.py")
    (repository / "sub/parts.py").write_text("FACTOR = 7\n")
    git(repository, "commit", "-q", "-a", "-m", "second")
    found = way("model:v0", at=repository)
    assert (found.code.has_patch, found.folder) == (True, "code/sub")
    assert again(found, tmp_path / "fresh").verdict == "same"
    assert (tmp_path / "fresh/code/sub/parts.py").read_text() == "FACTOR = 5\n"


def test_module_is_started_as_a_module(repository: Path, tmp_path: Path) -> None:
    (repository / "pack").mkdir()
    (repository / "pack/__init__.py").write_text("")
    (repository / "pack/__main__.py").write_text("from . import work\n")
    (repository / "pack/work.py").write_text(TRAIN)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "package")
    run_python(repository, "-m", "pack", "2")
    found = way("model:v0", at=repository)
    assert found.command == ("python", "-m", "pack", "2")
    assert again(found, tmp_path / "fresh").verdict == "same"


def test_script_that_git_does_not_track_comes_from_the_run(repository: Path, tmp_path: Path) -> None:
    (repository / "new.py").write_text(TRAIN)
    run_python(repository, "new.py", "2")
    (repository / "new.py").unlink()
    assert again(way("model:v0", at=repository), tmp_path / "fresh").verdict == "same"


def test_commit_that_was_never_pushed_is_fetched_from_where_it_is(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(repository, "remote", "add", "origin", str(tmp_path / "remote.git"))
    git(repository, "push", "-q", "origin", "HEAD")
    run_python(repository / "sub", "train.py")
    pushed = way("model:v0", at=repository)
    assert (pushed.notes, "fetch" in pushed.script) == ((), False)
    git(repository, "commit", "-q", "-a", "-m", "second")
    (repository / "sub/parts.py").write_text("FACTOR = 6\n")
    run_python(repository / "sub", "train.py")
    found = way("model:v1", at=repository)
    assert "is on no branch of a remote" in found.notes[0]
    git_lines = [line for line in found.steps[0].lines if line.startswith("git") and "apply" not in line]
    subprocess.run(["sh", "-ec", "\n".join(git_lines)], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "code/sub/parts.py").read_text() == "FACTOR = 5\n"


def test_commit_that_nobody_has_is_an_obstacle_without_saved_code(repository: Path, tmp_path: Path) -> None:
    (repository / "pack.py").write_text(TRAIN)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-a", "-m", "clean")
    run_python(repository, "-m", "pack", "1")
    git(repository, "commit", "-q", "--amend", "-m", "other")
    git(repository, "reflog", "expire", "--expire=now", "--all")
    git(repository, "gc", "-q", "--prune=now")
    found = way("model:v0", at=repository)
    assert "no repository here has it" in found.obstacles[0]
    assert again(found, tmp_path / "fresh").verdict == "impossible"


# Other commands


def test_exec_logs_again_what_it_was_told_to_log(place: Path, tmp_path: Path) -> None:
    art = [sys.executable, "-c", "from lineart.cli.main import main; main()"]
    (place / "make.sh").write_text('printf "$1" > out.bin\n')
    words = ["exec", "-p", "team/digits", "--use", "data:v0=train", "--log", "out.bin=made:model", "--"]
    done = subprocess.run(
        [*art, *words, "sh", "make.sh", "x"], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = way("made:v0")
    assert found.command[:2] == ("art", "exec")
    assert again(found, tmp_path / "fresh").verdict == "same"


def test_script_that_is_started_by_its_name_is_executable_again(place: Path, tmp_path: Path) -> None:
    art = [sys.executable, "-c", "from lineart.cli.main import main; main()"]
    (place / "make.sh").write_text('#!/bin/sh\nprintf "$1" > out.bin\n')
    (place / "make.sh").chmod(0o755)
    words = ["exec", "-p", "team/digits", "--log", "out.bin=made:model", "--", "./make.sh", "x"]
    subprocess.run([*art, *words], cwd=place, check=True, capture_output=True)
    found = way("made:v0")
    assert again(found, tmp_path / "fresh").verdict == "same"
    assert "cp saved/code/make.sh work/make.sh; chmod +x work/make.sh" in found.script


def test_command_that_fails_says_its_last_line(place: Path, tmp_path: Path) -> None:
    (place / "train.py").write_text(
        TRAIN + "import os\nassert not os.path.exists('artifacts'), 'stop here'\n"
    )
    run_python(place, "train.py", "1")
    outcome = again(way("model:v0"), tmp_path / "fresh")
    assert outcome.verdict == "impossible"
    assert "status 1: AssertionError: stop here" in outcome.reasons[0]


def test_code_that_names_its_store_is_no_proof(place: Path, tmp_path: Path) -> None:
    store = scenario.workspace().url
    (place / "train.py").write_text(TRAIN.replace("init(", f"init(store={store!r}, "))
    run_python(place, "train.py", "1")
    outcome = again(way("model:v0"), tmp_path / "fresh")
    assert outcome.verdict == "impossible"
    assert "names a store itself" in outcome.reasons[0]


# What cannot be done


def test_version_from_outside_of_a_run_cannot(place: Path, tmp_path: Path) -> None:
    log_draft(scenario.workspace(), scenario.draft("loose", {"a": "1"}))
    found = way("loose:v0")
    assert "outside of a run" in found.obstacles[0]
    assert again(found, tmp_path / "fresh").reasons == found.obstacles
    assert not found.steps


def test_deleted_input_is_named(place: Path) -> None:
    (place / "train.py").write_text(TRAIN)
    run_python(place, "train.py", "1")
    change_data()
    lineart.Api().artifact("team/digits/data:v0").delete()
    assert "input team/digits/data:v0 was deleted" in way("model:v0").obstacles[0]


@pytest.mark.parametrize(
    "capture, reason",
    [
        ({"command": [""]}, "no command"),
        ({}, "no command"),
        ({"command": ["t.py", "--key", "***"]}, "secret"),
        ({"command": ["-c"]}, "was not saved"),
    ],
)
def test_what_was_typed_in_or_hidden_cannot(capture: dict[str, list[str]], reason: str) -> None:
    assert reason in started(capture, []).obstacles[0]


@pytest.mark.parametrize(
    "command, words",
    [
        (["/home/ada/p/.venv/bin/python3.11", "t.py"], ("python", "t.py")),
        (["/home/ada/p/t.py", "--out=/home/ada/p/x"], ("python", "t.py", "--out=x")),
        (["/home/ada/p/.venv/bin/torchrun", "t.py"], ("torchrun", "t.py")),
        (["make", "model"], ("make", "model")),
    ],
)
def test_programs_of_then_become_those_of_now(command: list[str], words: tuple[str, ...]) -> None:
    capture = {
        "command": command,
        "folder": "/home/ada/p",
        "executable": "/home/ada/p/.venv/bin/python",
        "exec": {},
    }
    assert started(capture, []).words == ("art", "exec", "--", *words)


def test_notebook_cannot() -> None:
    assert "interactive" in started({"command": ["k"]}, ["code/a.ipynb"]).obstacles[0]


def test_path_that_leads_out_is_refused(place: Path, tmp_path: Path) -> None:
    history = scenario.workspace()
    capture = {"command": ["../../../evil.py"], "folder": "/a", "git": None}
    op = {"op": "run.start", "run": "r", "name": "r", "config": {}, "capture": capture}
    history.project().commit(lambda state: [op])
    log_draft(history, scenario.draft("m", {"a": "1"}), run="r")
    found = way("m:v0")
    assert found.obstacles
    assert again(found, tmp_path / "fresh").verdict == "impossible"


@pytest.mark.slow
def test_words_of_a_forged_log_are_no_commands(place: Path, tmp_path: Path) -> None:
    workspace = scenario.workspace()
    evil = "x\ntouch evil\n$(touch evil)`touch evil`'; touch evil; '"
    git_facts = {"commit": "a" * 40, "remote": evil, "root": f"/a/{evil}", "untracked": [evil]}
    capture = {
        "command": ["t.py", evil],
        "folder": f"/a/{evil}/b",
        "python": evil,
        "module": evil,
        "git": git_facts,
    }
    op = {"op": "run.start", "run": "r", "name": evil, "config": {}, "capture": capture}
    workspace.project().commit(lambda state: [op])
    log_draft(workspace, scenario.draft("m", {"a": "1"}), run="r")
    found = replace(way("m:v0"), obstacles=())
    script = found.script.replace("\nset -eu\n", "\n")
    for command in ("art", "git"):
        script = f"{command}() {{ :; }}\n{script}"
    subprocess.run(["sh", "-c", script, "sh", "made"], cwd=tmp_path, capture_output=True, check=False)
    assert not list(tmp_path.rglob("evil")), found.script


def test_folder_that_is_not_empty_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(lineart.UsageError, match="not empty"):
        again(way("data:v0"), place.parent)


def test_version_of_a_deleted_run_says_so(place: Path) -> None:
    (place / "train.py").write_text(TRAIN)
    run_python(place, "train.py", "1")
    for run in lineart.Api().runs("team/digits"):
        if run.display_name == "train":
            run.delete()
    assert "was deleted" in way("model:v0").obstacles[0]


# Environment


@pytest.mark.slow
def test_package_that_cannot_be_had_is_named(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (place / "train.py").write_text(TRAIN)
    run_python(place, "train.py", "1")
    found = way("model:v0")
    assert any(line.startswith("blake3==") for line in found.environment.requirements)
    wanted = replace(found, environment=replace(found.environment, requirements=("no-such-thing==1",)))
    outcome = again(wanted, tmp_path / "fresh", use_present=False)
    assert outcome.verdict == "impossible"
    assert re.search(r"pip install failed: (ERROR|×).*no-such-thing.*--no-env", outcome.reasons[0])


@pytest.mark.slow
def test_command_runs_with_the_python_of_a_new_environment(place: Path, tmp_path: Path) -> None:
    art = [sys.executable, "-c", "from lineart.cli.main import main; main()"]
    (place / "make.py").write_text(
        "import sys\nopen('out', 'w').write('fixed')\nopen('prefix', 'w').write(sys.prefix)\n"
    )
    words = ["exec", "-p", "team/digits", "--log", "out=made:model", "--", sys.executable, "make.py"]
    subprocess.run([*art, *words], cwd=place, check=True, capture_output=True)
    found = way("made:v0")
    wanted = replace(found, environment=replace(found.environment, requirements=()))
    outcome = again(wanted, tmp_path / "fresh", use_present=False)
    assert (outcome.verdict, outcome.reasons) == ("same", ())
    assert (tmp_path / "fresh/work/prefix").read_text() == str(tmp_path / "fresh/venv")


def test_environment_has_its_own_programs_and_none_of_our_settings(tmp_path: Path) -> None:
    around = {
        "PATH": "/usr/bin",
        "PYTHONPATH": "/x",
        "LINEART_RUN_ID": "1",
        "WANDB_MODE": "offline",
        "LANG": "C",
    }
    found = child_environment(
        around, tmp_path / "venv/bin/python", is_own=True, settings={"LINEART_STORE": "s"}
    )
    assert found.pop("PATH").split(os.pathsep) == [str(tmp_path / "venv/bin"), "/usr/bin"]
    assert found == {
        "LANG": "C",
        "LINEART_STORE": "s",
        "PYTHONUNBUFFERED": "1",
        "VIRTUAL_ENV": str(tmp_path / "venv"),
    }


@pytest.mark.slow
def test_script_does_it_in_a_shell(place: Path, tmp_path: Path) -> None:
    environ = dict(os.environ)
    code = TRAIN.replace('name="train"', 'name="it\'s", settings={"packages": False}')
    (place / "train.py").write_text(code)
    run_python(place, "train.py", "1")
    bin = tmp_path / "bin"
    bin.mkdir()
    (bin / "art").write_text(
        f'#!/bin/sh\nexec {sys.executable} -c "from lineart.cli.main import main; main()" "$@"\n'
    )
    (bin / "art").chmod(0o755)
    environ["PATH"] = f"{bin}:{Path(sys.executable).parent}:{environ['PATH']}"
    environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    environ.pop("LINEART_STORE")
    found = way("model:v0")
    script = tmp_path / "again.sh"
    script.write_text(found.script)
    done = subprocess.run(
        ["sh", str(script), "made"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == ["team/digits/model:v0", "true"], done.stdout
