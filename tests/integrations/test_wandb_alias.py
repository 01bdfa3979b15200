"""`import wandb` as Lineart inside a process: names, versions, what libraries look for."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import lineart
from lineart.integrations.wandb import install, is_installed, uninstall
from lineart.integrations.wandb.names import LIVE, MODULES, OUR_MODULES

SHIM = Path(lineart.__file__).resolve().parents[2] / "integrations" / "shim"


@pytest.fixture
def wandb() -> Iterator[ModuleType]:
    """The alias, taken away again."""
    yield install()
    if lineart.run is not None:
        lineart.run.finish()
    uninstall()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_every_name_of_the_table_is_there(
    name: str, wandb: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    for library in ("keras", "lightgbm", "sklearn", "xgboost"):
        if library in name:
            pytest.importorskip(library, exc_type=ImportError)
    module = importlib.import_module(name)
    for attribute in MODULES[name]:
        assert getattr(module, attribute) is not None, f"{name}.{attribute}"
    for place in OUR_MODULES.get(name, ()):
        for attribute in importlib.import_module(place).__all__:
            assert hasattr(module, attribute), f"{name}.{attribute}"
    assert set(MODULES[name]) <= set(dir(module))


def test_names_are_ours(wandb: ModuleType) -> None:
    assert wandb.Artifact is lineart.Artifact
    assert wandb.Api is lineart.Api
    assert wandb.log is lineart.log
    assert importlib.import_module("wandb.sdk.wandb_run").Run is lineart.Run
    assert importlib.import_module("wandb.errors").CommError is lineart.CommError


def test_submodule_is_there_without_its_import(wandb: ModuleType) -> None:
    assert wandb.errors.Error is lineart.Error
    assert len(wandb.util.generate_id()) == 8
    assert wandb.sdk.lib.config_util.ConfigError is lineart.UsageError


def test_name_that_is_missing_says_where_to_look(wandb: ModuleType) -> None:
    with pytest.raises(AttributeError, match=r"no wandb\.beta; docs/moving-from-wandb\.md"):
        _ = wandb.beta
    with pytest.raises(ModuleNotFoundError, match=r"wandb\.beta"):
        importlib.import_module("wandb.beta")


def test_run_config_and_summary_are_the_current_ones(wandb: ModuleType) -> None:
    assert wandb.run is None
    for depth in (1, 2):
        run = wandb.init(project="alias", config={"depth": depth})
        assert wandb.run is run
        assert wandb.config["depth"] == depth
        wandb.log({"loss": 0.5})
        assert wandb.summary["loss"] == 0.5
        wandb.finish()
    assert not set(LIVE) & set(vars(wandb))


def test_version_is_known_to_importlib(wandb: ModuleType) -> None:
    assert importlib.metadata.version("wandb") == wandb.__version__
    assert wandb.__version__.startswith("0.22.")  # Lightning asks for 0.12.10 or newer
    assert importlib.util.find_spec("wandb") is not None
    uninstall()
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("wandb")


def test_install_twice_is_once_and_uninstall_undoes_it() -> None:
    assert install() is install()
    assert is_installed()
    uninstall()
    assert not is_installed()
    assert "wandb" not in sys.modules
    assert importlib.util.find_spec("wandb") is None


def test_module_that_was_imported_before_is_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("wandb")
    monkeypatch.setitem(sys.modules, "wandb", other)
    try:
        assert install() is not other
        assert importlib.import_module("wandb").Artifact is lineart.Artifact
    finally:
        uninstall()


def test_arguments_of_accounts_and_servers_do_nothing(wandb: ModuleType) -> None:
    assert wandb.login(key="x" * 40, relogin=True, anonymous="allow") is True
    assert wandb.login(verify=True) is True
    wandb.require("service")
    wandb.setup()
    run = wandb.init(project="alias", anonymous="must", force=True, reinit=True, tags="one", save_code=False)
    assert list(run.tags) == ["one"]
    wandb.teardown()
    assert run.state == "finished"


@pytest.mark.parametrize("argument", ["resume_from", "fork_from"])
def test_history_is_not_cut(argument: str, wandb: ModuleType) -> None:
    with pytest.raises(lineart.UsageError, match=argument):
        wandb.init(project="alias", **{argument: "abc?_step=3"})


def test_what_is_not_recorded_is_said_once(wandb: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        wandb.init(project="alias", sync_tensorboard=True).finish()
    assert capsys.readouterr().err.count("sync_tensorboard") == 1


def test_old_names_of_a_run_are_there(wandb: ModuleType) -> None:
    with wandb.init(project="alias") as run:
        run._label(code="trainer")
        assert run.project_name() == "alias"
        assert run._attach_id == run.path
        run.join()
        assert run.state == "finished"


def test_lines_for_the_terminal_go_to_stderr(wandb: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    wandb.termlog("one")
    wandb.termwarn("two", repeat=False)
    wandb.termwarn("two", repeat=False)
    wandb.errors.term.termerror("three")
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err == "lineart: one\nlineart: warning: two\nlineart: error: three\n"


def test_small_functions_do_what_libraries_expect(wandb: ModuleType) -> None:
    assert wandb.util.get_module("json").dumps([1]) == "[1]"
    assert wandb.util.get_module("no_such_module") is None
    with pytest.raises(lineart.Error, match="pip install it"):
        wandb.util.get_module("no_such_module", required="pip install it")
    assert wandb.util.make_artifact_name_safe("a b/" + "c" * 200).startswith("a_b_ccc")
    assert len(wandb.util.make_artifact_name_safe("c" * 200)) == 128


def script(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python process that finds the alias on its path, as under `art exec`."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(SHIM), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_folder_on_the_path_is_enough() -> None:
    code = """
import importlib.metadata, importlib.util
assert importlib.util.find_spec("wandb") is not None
version = importlib.metadata.version("wandb")
assert "wandb" in importlib.metadata.packages_distributions()
import wandb
import wandb.sdk.wandb_run
from wandb.sdk.lib import RunDisabled
from wandb.errors import CommError
assert wandb.__version__ == version
with wandb.init(project="shim") as run:
    wandb.log({"x": 1})
    assert isinstance(run, wandb.sdk.wandb_run.Run)
    print(type(run).__module__, wandb.run is run)
"""
    done = script(code)
    assert done.stderr == ""
    assert done.stdout == "lineart.tracking.run True\n"


def test_python_without_lineart_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import wandb"],
        env={"PYTHONPATH": str(SHIM)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ModuleNotFoundError: lineart is not installed in ")
    assert "--no-alias" in last


def test_looking_through_the_files_of_the_package_installs_nothing() -> None:
    spec = importlib.util.spec_from_file_location("some.shim.wandb", SHIM / "wandb.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert not is_installed()


def test_spawned_process_finds_its_objects_again() -> None:
    code = """
import multiprocessing, pickle
import wandb
def work(settings):
    assert settings.git is False
if __name__ == "__main__":
    settings = wandb.Settings(disable_git=True)
    assert pickle.loads(pickle.dumps(wandb.Artifact)) is wandb.Artifact
    assert pickle.loads(pickle.dumps(settings)) == settings
"""
    done = script(code)
    assert done.returncode == 0, done.stderr
