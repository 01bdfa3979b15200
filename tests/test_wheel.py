"""What is built from this tree installs and works without the tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "lineart"

pytestmark = pytest.mark.slow


def call(*command: str | Path, cwd: Path) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))} failed:\n{done.stdout}"
    return done.stdout


def project_files() -> list[Path]:
    """Every file and link that is, or could be, committed."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = [Path(name) for name in listed.split("\0") if name]
    return [name for name in names if (ROOT / name).is_symlink() or (ROOT / name).is_file()]


def wanted_in_the_package() -> set[str]:
    """What must be shipped: each file below `src/lineart/`, the linked folders included, as it lies in the wheel."""
    files = {name.as_posix() for name in project_files()}
    own = {
        name.removeprefix("src/")
        for name in files
        if name.startswith("src/") and not (ROOT / name).is_symlink()
    }
    folders = {path.name for path in PACKAGE.iterdir() if path.is_symlink()}
    linked = {f"lineart/{name}" for name in files if name.partition("/")[0] in folders}
    return {name for name in own | linked if not name.endswith(".md")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sdist, and the wheel that was built from it."""
    tree = tmp_path_factory.mktemp("tree") / "lineart"
    for name in project_files():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    out = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-P", "-m", "build", "--no-isolation", "--outdir", out, tree, cwd=out)
    return out


def test_wheel_and_sdist_hold_the_real_code(built: Path) -> None:
    wanted = wanted_in_the_package()
    assert "lineart/py.typed" in wanted
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        shipped = set(wheel.namelist())
    assert wanted <= shipped, "add the kind of file to package-data in pyproject.toml"
    assert {name for name in shipped if name.startswith("lineart/")} <= wanted
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        files = {member.name.partition("/src/")[2] for member in sdist.getmembers() if member.isfile()}
    assert wanted <= files


def test_wheel_installs_and_works(built: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    call(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path)
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / "python"
    wheel = next(built.glob("*.whl"))
    pip = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    call(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=tmp_path)
    # The dependencies are those of this environment, behind what was just installed: nothing is downloaded.
    site = Path(
        call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    )
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    assert "0." in call(scripts / "art", "--version", cwd=tmp_path)
    show = "import lineart, lineart.cli.main; print(lineart.__file__)"
    assert Path(call(python, "-P", "-c", show, cwd=tmp_path).strip()).is_relative_to(site)
