"""Importing integrations: none loads another's library, and a missing one is named."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lineart.integrations.library import library


def test_importing_the_package_imports_no_library() -> None:
    code = (
        "import sys, lineart.integrations as i\n"
        "heavy = {'torch', 'keras', 'pytorch_lightning', 'transformers', 'sklearn', 'xgboost', 'lightgbm', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert {'keras', 'lightning', 'huggingface', 'sklearn', 'xgboost', 'lightgbm'} <= set(dir(i))\n"
        "try: i.nothing\n"
        "except AttributeError as error: assert 'nothing' in str(error)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_library_is_named_with_what_to_install() -> None:
    with pytest.raises(
        ImportError, match="needs no_such_library, which is not installed; pip install no-such"
    ):
        library("no_such_library.part", "no-such")


def test_what_a_library_misses_itself_is_not_taken_for_the_library(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("site")
    (folder / "half_there.py").write_text("import other_missing_thing\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    with pytest.raises(ModuleNotFoundError, match="other_missing_thing"):
        library("half_there")
