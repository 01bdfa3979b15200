"""The installed packages, as a requirements file would name them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import scenario
from lineart.tracking.capture import installed_packages


def install(site: Path, folder: str, origin: dict[str, Any] | None = None) -> None:
    name, _, version = folder.removesuffix(".dist-info").partition("-")
    files = {f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}
    if origin is not None:
        files[f"{folder}/direct_url.json"] = json.dumps(origin)
    scenario.write_tree(site, dict(files))


def test_names_are_normal_and_sorted(tmp_path: Path) -> None:
    for folder in (
        "Typing_Extensions-4.12.dist-info",
        "ruamel.yaml-0.18.dist-info",
        "a-1!2.0+cu121.dist-info",
    ):
        install(tmp_path, folder)
    assert installed_packages([str(tmp_path)]) == [
        "a==1!2.0+cu121",
        "ruamel-yaml==0.18",
        "typing-extensions==4.12",
    ]


def test_what_python_itself_finds_is_found() -> None:
    expected = {
        f"{found.metadata['Name'].lower().replace('_', '-').replace('.', '-')}=={found.version}"
        for found in metadata.distributions()
        if found.read_text("direct_url.json") is None
    }
    assert expected <= set(installed_packages())


@pytest.mark.parametrize(
    "origin, line",
    [
        ({"url": "file:///src/x", "dir_info": {"editable": True}}, "-e /src/x  # x==1.0"),
        ({"url": "file:///src/x", "dir_info": {}}, "x @ file:///src/x"),
        (
            {
                "url": "https://ada:pw@h/x.git",
                "vcs_info": {"vcs": "git", "commit_id": "abc", "requested_revision": "main"},
            },
            "x @ git+https://***@h/x.git@abc",
        ),
        (
            {"url": "https://h/x.git", "vcs_info": {"vcs": "hg", "commit_id": "abc"}, "subdirectory": "py"},
            "x @ hg+https://h/x.git@abc#subdirectory=py",
        ),
        ({"url": "https://h/x.whl", "archive_info": {}}, "x @ https://h/x.whl"),
        ({"url": "https://h/x.whl", "archive_info": {"hash": "sha256=12"}}, "x @ https://h/x.whl#sha256=12"),
        (
            {"url": "https://h/x.whl", "archive_info": {"hashes": {"sha256": "12"}}},
            "x @ https://h/x.whl#sha256=12",
        ),
        ({}, "x==1.0"),
    ],
)
def test_origin_of_an_installation_is_told(tmp_path: Path, origin: dict[str, Any], line: str) -> None:
    install(tmp_path, "x-1.0.dist-info", origin)
    assert installed_packages([str(tmp_path)]) == [line]


def test_first_on_the_path_counts(tmp_path: Path) -> None:
    install(tmp_path / "near", "x-2.dist-info")
    install(tmp_path / "far", "X-1.dist-info")
    assert installed_packages([str(tmp_path / "near"), str(tmp_path / "far")]) == ["x==2"]


def test_older_kinds_of_installation_are_found(tmp_path: Path) -> None:
    egg = "Metadata-Version: 1.0\nName: {}\nVersion: 3.0\n"
    scenario.write_tree(
        tmp_path,
        {
            "named-1.5-py3.11.egg-info/PKG-INFO": egg.format("named"),
            "file-1.6-py3.11.egg-info": egg.format("file"),
            "developed.egg-info/PKG-INFO": egg.format("Developed"),
        },
    )
    with zipfile.ZipFile(tmp_path / "z.egg", "w") as archive:
        archive.writestr("EGG-INFO/PKG-INFO", egg.format("zipped"))
    found = installed_packages([str(tmp_path), str(tmp_path / "z.egg")])
    assert found[:3] == ["developed==3.0", "file==1.6", "named==1.5"]
    assert found[3:] in ([], ["zipped==3.0"])


def test_half_installations_and_missing_folders_are_passed_over(tmp_path: Path) -> None:
    install(tmp_path, "~ip-1.dist-info")
    install(tmp_path, "bad-1.dist-info")
    (tmp_path / "bad-1.dist-info/direct_url.json").write_text("{")
    (tmp_path / "empty-1.dist-info").mkdir()
    (tmp_path / "nameless.dist-info").mkdir()
    assert installed_packages(
        [str(tmp_path), str(tmp_path / "gone"), str(tmp_path / "bad-1.dist-info/METADATA")]
    ) == ["bad==1"]


def test_pip_reads_the_lines(tmp_path: Path) -> None:
    install(tmp_path, "x-1.0.dist-info")
    install(tmp_path, "lineart-0.1.dist-info", {"url": tmp_path.as_uri(), "dir_info": {"editable": True}})
    (tmp_path / "requirements.txt").write_text("\n".join(installed_packages([str(tmp_path)])))
    pytest.importorskip("pip")
    code = (
        "import sys; from pip._internal.req.req_file import parse_requirements as p;"
        "from pip._internal.network.session import PipSession as S;"
        "print(*[(r.requirement, r.is_editable) for r in p(sys.argv[1], S())])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split(") ") == [f"('{tmp_path}', True", "('x==1.0', False)\n"]


def test_three_hundred_packages_take_milliseconds(tmp_path: Path) -> None:
    for number in range(300):
        install(tmp_path, f"package_{number}-{number}.0.dist-info")
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        assert len(installed_packages([str(tmp_path)])) == 300
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.1  # 4 ms on a quiet machine
