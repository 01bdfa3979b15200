"""Every example runs in an empty folder, as its first lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SHOWN = {
    "train_digits.py": ["classifier:v0 from digits:v0", "['classifier:v0', 'report:v0']"],
    "external_data.py": ["3 files stay in place", "refused: reference 'sales-02.csv'"],
    "release.sh": ["production → v1", "production → v0"],
}


def test_every_example_is_tested_and_listed() -> None:
    programs = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert programs == set(SHOWN)
    index = (EXAMPLES / "README.md").read_text()
    assert all(f"({name})" in index for name in programs)


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_example_runs_and_shows_what_it_promises(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LINEART_STORE")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    program = [sys.executable] if name.endswith(".py") else ["sh"]
    done = subprocess.run(
        [*program, str(EXAMPLES / name)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    for text in SHOWN[name]:
        assert text in done.stdout, done.stdout
