"""`save`, `restore`, `log_code`: which files, under which paths, when."""

from __future__ import annotations

import os
import subprocess
import time
import warnings
from pathlib import Path

import pytest

import lineart
import scenario
from lineart.storage.errors import (
    InvalidNameError,
    InvalidPathError,
    NotFoundError,
    UsageError,
)
from lineart.tracking.run_files import FolderSink
from lineart.tracking.saved_files import SavedFiles

# Nothing else writes into the run's folder.
QUIET = {"console": "off"} | dict.fromkeys(["system", "git", "packages", "environment", "save_code"], False)


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run() -> lineart.Run:
    return lineart.init(project="p", id="r", settings=QUIET)


def kept(run: lineart.Run) -> dict[str, str]:
    """What lies in the run's folder of files that was saved here."""
    files = scenario.read_tree(Path(run.dir))
    return {path: text for path, text in files.items() if path.endswith((".txt", ".bin"))}


# save


@pytest.mark.parametrize(
    "pattern, base, paths",
    [
        ("a/b/*.txt", None, {"a/b/1.txt", "a/b/2.txt"}),
        ("a/b/*.txt", "a", {"b/1.txt", "b/2.txt"}),
        ("a/b/*.txt", "a/b", {"1.txt", "2.txt"}),
        ("**/*.txt", None, {"a/b/1.txt", "a/b/2.txt", "top.txt"}),
        ("a", None, {"a/b/1.txt", "a/b/2.txt", "a/c.bin"}),
        ("top.txt", None, {"top.txt"}),
        ("./top.txt", None, {"top.txt"}),
        ("{work}/a/b/*.txt", None, {"1.txt", "2.txt"}),
        ("{work}/a/**/*.txt", None, {"b/1.txt", "b/2.txt"}),
        ("{work}/a/b/1.txt", "{work}", {"a/b/1.txt"}),
        ("../work/top.txt", None, {"top.txt"}),
        ("../beside/x.txt", None, {"x.txt"}),
        ("brackets[1].txt", None, {"brackets[1].txt"}),
    ],
)
def test_paths_in_the_run(
    pattern: str, base: str | None, paths: set[str], work: Path, run: lineart.Run
) -> None:
    files = {"a/b/1.txt": "1", "a/b/2.txt": "2", "a/c.bin": "c", "top.txt": "t", "brackets[1].txt": "b"}
    if pattern.startswith("**"):
        del files["brackets[1].txt"]
    scenario.write_tree(work, files)
    scenario.write_tree(work.parent / "beside", {"x.txt": "x"})
    found = run.save(
        pattern.format(work=work), base_path=None if base is None else base.format(work=work), policy="now"
    )
    assert set(kept(run)) == paths
    assert {os.path.relpath(path, run.dir) for path in found} == paths


@pytest.mark.parametrize(
    "pattern, fields, message",
    [
        ("../x", {"base_path": "."}, "lies outside of base_path"),
        ("a.txt", {"base_path": "sub"}, "lies outside of base_path"),
        ("s3://b/k", {}, "add_reference"),
        ("a.txt", {"policy": "later"}, "expected 'live', 'now' or 'end'"),
    ],
)
def test_pattern_that_cannot_be_saved_is_refused(
    pattern: str, fields: dict[str, str], message: str, run: lineart.Run
) -> None:
    with pytest.raises(UsageError, match=message):
        run.save(pattern, **fields)  # type: ignore[arg-type]


def test_nothing_matched_is_warned_of_here(run: lineart.Run) -> None:
    with pytest.warns(UserWarning, match=r"save '\*.txt': no file matches$") as caught:
        assert run.save("*.txt", policy="now") == []
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="looked at again until the run ends"):
        run.save("*.txt")


def test_policies(work: Path, run: lineart.Run) -> None:
    scenario.write_tree(work, {"now.txt": "1", "live.txt": "1", "end.txt": "1"})
    run.save("now.txt", policy="now")
    run.save("live*.txt", policy="live")
    run.save("end.txt", policy="end")
    assert kept(run) == {"now.txt": "1", "live.txt": "1"}
    scenario.write_tree(work, {"now.txt": "22", "live.txt": "22", "end.txt": "22", "live2.txt": "new"})
    run._saved.refresh()
    assert kept(run) == {"now.txt": "1", "live.txt": "22", "live2.txt": "new"}
    scenario.write_tree(work, {"live.txt": "333", "end.txt": "333"})
    (work / "live2.txt").unlink()
    run._saved.finish()
    assert kept(run) == {"now.txt": "1", "live.txt": "333", "live2.txt": "new", "end.txt": "333"}


def test_unchanged_file_is_not_copied_again(work: Path) -> None:
    class Counting(FolderSink):
        """Counts the copies."""

        copies = 0

        def put_path(self, source: Path, path: str) -> None:
            self.copies += 1
            super().put_path(source, path)

    sink = Counting(work / "run")
    saved = SavedFiles(lambda: sink, lambda: str(work / "run"))
    (work / "f.txt").write_text("1")
    saved.add("f.txt", None, "live")
    saved.refresh()
    saved.refresh()
    assert sink.copies == 1
    (work / "other").write_text("2")  # same size, and put in its place
    os.utime(work / "other", ns=((work / "f.txt").stat().st_atime_ns, (work / "f.txt").stat().st_mtime_ns))
    os.replace(work / "other", work / "f.txt")
    saved.refresh()
    assert sink.copies == 2
    assert (work / "run/f.txt").read_text() == "2"


def test_file_in_the_runs_own_folder_stays_where_it_is(run: lineart.Run) -> None:
    target = Path(run.dir, "sub/model.bin")
    target.parent.mkdir()
    target.write_text("1")
    assert run.save(target) == [str(target)]
    assert kept(run) == {"sub/model.bin": "1"}


def test_file_that_cannot_be_read_is_warned_of_at_the_end_only(work: Path) -> None:
    class Full(FolderSink):
        """A disk without room."""

        def put_path(self, source: Path, path: str) -> None:
            raise OSError(28, "No space left on device")

    saved = SavedFiles(lambda: Full(work / "run"), lambda: str(work / "run"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved.add("f.txt", None, "live")
    (work / "f.txt").write_text("1")
    saved.refresh()
    with pytest.warns(UserWarning, match="f.txt' was not kept: .*No space left"):
        saved.finish()


def test_saved_files_are_with_the_run_when_it_has_ended(work: Path, run: lineart.Run) -> None:
    scenario.write_tree(work, {"now.txt": "n", "end.txt": "e"})
    run.save("now.txt", policy="now")
    run.save("end.txt", policy="end")
    run.finish()
    with lineart.init(project="p", settings={"console": "off"}) as second:
        for name in ("now", "end"):
            with second.restore(f"{name}.txt", run_path="r") as file:
                assert file.read() == name[0]


# restore


def test_restore_of_this_runs_file(work: Path, run: lineart.Run) -> None:
    (work / "f.txt").write_text("1")
    run.save("f.txt", policy="now")
    with run.restore("f.txt") as file:
        assert (file.read(), file.name) == ("1", os.path.join(run.dir, "f.txt"))
    with run.restore("f.txt", root="elsewhere") as file:
        assert (file.read(), file.name) == ("1", str(work / "elsewhere/f.txt"))


@pytest.mark.parametrize("path", ["r", "p/r", "default/p/r", "default/p/runs/r", "/p/r"])
def test_restore_from_another_run(path: str, work: Path, run: lineart.Run) -> None:
    scenario.write_tree(work, {"d/f.txt": "1"})
    run.save("d/f.txt", policy="now")
    run.finish()
    with lineart.init(project="p", settings={"console": "off"}) as second:
        with second.restore("d/f.txt", run_path=path, root=work / "out") as file:
            assert file.read() == "1"
        (work / "out/d/f.txt").write_text("mine")
        with second.restore("d/f.txt", run_path=path, root=work / "out") as file:
            assert file.read() == "mine"
        with second.restore("d/f.txt", run_path=path, root=work / "out", replace=True) as file:
            assert file.read() == "1"
        assert scenario.read_tree(work / "out") == {"d/f.txt": "1"}


@pytest.mark.parametrize(
    "name, path, error, message",
    [
        ("f.tx", "r", NotFoundError, r"f\.tx"),
        ("f.txt", "nobody", NotFoundError, "run default/p/nobody does not exist"),
        ("../f.txt", "r", InvalidPathError, "'..'"),
        ("f.txt", "a/b/c/d", InvalidNameError, "run path 'a/b/c/d'"),
        ("f.txt", "", InvalidNameError, "run path ''"),
    ],
)
def test_restore_of_what_is_not_there(
    name: str, path: str, error: type[Exception], message: str, work: Path, run: lineart.Run
) -> None:
    (work / "f.txt").write_text("1")
    run.save("f.txt", policy="now")
    with pytest.raises(error, match=message):
        run.restore(name, run_path=path, root=work / "out")
    assert not (work / "out/f.txt").exists()


# log_code


CODE = {
    "train.py": "1",
    "pkg/model.py": "2",
    "notes.ipynb": "{}",
    "data.csv": "3",
    ".venv/lib/x.py": "4",
    "myenv/pyvenv.cfg": "",
    "myenv/lib/y.py": "5",
    "node_modules/z.py": "6",
    "pkg/__pycache__/m.py": "7",
}


def test_code_is_python_and_notebooks_without_environments(work: Path, run: lineart.Run) -> None:
    scenario.write_tree(work, CODE)
    made = run.log_code()
    assert made is not None
    assert made.files() == ["notes.ipynb", "pkg/model.py", "train.py"]
    assert (made.type, made.logged_by()) == ("code", "default/p/r")
    assert made.collection.startswith("source-p")
    assert run.log_code("pkg", name="mine").name == "mine:v0"  # type: ignore[union-attr]


def test_code_that_git_ignores_is_left_out(work: Path, run: lineart.Run) -> None:
    scenario.write_tree(
        work, {**CODE, ".gitignore": "secret.py\nbuild/\n", "secret.py": "", "build/a.py": ""}
    )
    subprocess.run(["git", "init", "-q", "."], check=True, cwd=work)
    made = run.log_code()
    assert made is not None
    assert made.files() == ["notes.ipynb", "pkg/model.py", "train.py"]


def test_code_is_what_the_functions_say(work: Path, run: lineart.Run) -> None:
    scenario.write_tree(work, CODE)
    made = run.log_code(include_fn=lambda path: path.endswith((".py", ".csv")))
    assert made is not None
    assert made.files() == ["data.csv", "pkg/model.py", "train.py"]
    made = run.log_code(
        name="two",
        include_fn=lambda path, root: os.path.relpath(path, root).startswith("pkg"),
        exclude_fn=lambda path: path.endswith("none"),
    )
    assert made is not None
    assert made.files() == ["pkg/model.py"]
    made = run.log_code(name="three", exclude_fn=lambda path, root: path == os.path.join(root, "train.py"))
    assert made is not None
    assert made.files() == ["notes.ipynb", "pkg/model.py"]


def test_no_code_is_none_and_mistakes_are_told(work: Path, run: lineart.Run) -> None:
    assert run.log_code() is None
    with pytest.raises(NotFoundError, match="is not there"):
        run.log_code("nowhere")
    with pytest.raises(UsageError, match=r"include_fn '\*.py': expected a function"):
        run.log_code(include_fn="*.py")  # type: ignore[arg-type]
    with pytest.raises(InvalidNameError):
        run.log_code(name="a/b")


def test_finished_run_saves_nothing(work: Path, run: lineart.Run) -> None:
    (work / "f.txt").write_text("1")
    run.finish()
    for call in (lambda: run.save("f.txt"), run.log_code):
        with pytest.raises(UsageError, match="is finished"):
            call()


def test_live_file_that_is_written_meanwhile_is_whole_in_the_end(work: Path, run: lineart.Run) -> None:
    run_file = work / "growing.txt"
    run_file.write_text("")
    run.save("growing.txt")
    for number in range(20):
        with run_file.open("a") as file:
            file.write(f"{number}\n")
        run._saved.refresh()
        time.sleep(0.001)
    run.finish()
    with (
        lineart.init(project="p", settings={"console": "off"}) as second,
        second.restore("growing.txt", run_path="r", root=work / "out") as file,
    ):
        assert file.read() == run_file.read_text()
