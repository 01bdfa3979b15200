"""The installed distributions, read from the names of their folders: 300 of them in some milliseconds."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from ...storage.masking import mask_text

_FOLDER = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.]*)-(?P<version>[^-]+)(?:-py[\d.]+[\w.-]*)?\.(?:dist|egg)-info\Z"
)
_ARCHIVES = (".egg", ".zip", ".whl", ".pyz")


def installed_packages(places: Sequence[str] | None = None) -> list[str]:
    """What is installed in `places` (default: `sys.path`) as lines of a requirements file, sorted by name.

    ``name==version`` with the name in its normal form; ``name @ URL`` for one installed from a URL or a local file;
    ``-e folder  # name==version`` for an editable one. Of a name that is there twice, the one that is imported counts.

    >>> any(line.startswith("pytest==") for line in installed_packages())
    True
    """
    found: dict[str, str] = {}
    for place in sys.path if places is None else places:
        for name, line in _in_place(place or os.curdir):
            found.setdefault(name, line)
    return [found[name] for name in sorted(found)]


def _in_place(place: str) -> Iterable[tuple[str, str]]:
    try:
        with os.scandir(place) as entries:
            names = [entry.name for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
    except NotADirectoryError:
        yield from _asked(place) if place.endswith(_ARCHIVES) else ()
        return
    except OSError:
        return
    for folder in names:
        if folder.startswith("~"):  # what an uninstallation left behind
            continue
        path = os.path.join(place, folder)
        match = _FOLDER.match(folder)
        if match is None:
            yield from _asked(place, path)
        elif folder.endswith(".egg-info") or os.path.exists(os.path.join(path, "METADATA")):
            name = _normal(match["name"])
            yield name, _line(name, match["version"], _origin(path))


def _line(name: str, version: str, origin: dict[str, Any]) -> str:
    """How an installation is written, by the fields of `direct_url.json` (PEP 610)."""
    url = mask_text(str(origin.get("url", "")))
    if not url:
        return f"{name}=={version}"
    if origin.get("dir_info", {}).get("editable"):
        return f"-e {url.removeprefix('file://')}  # {name}=={version}"
    source, archive = origin.get("vcs_info"), origin.get("archive_info")
    fragments = []
    if source:
        url = f"{source.get('vcs', 'git')}+{url}@{source.get('commit_id', '')}"
    elif archive:
        hashes = archive.get("hashes") or dict(
            [str(archive.get("hash", "")).split("=", 1)] if archive.get("hash") else []
        )
        fragments += [f"{kind}={value}" for kind, value in list(hashes.items())[:1]]
    if origin.get("subdirectory"):
        fragments.append(f"subdirectory={origin['subdirectory']}")
    return f"{name} @ {url}{'#' if fragments else ''}{'&'.join(fragments)}"


def _origin(path: str) -> dict[str, Any]:
    try:
        with open(os.path.join(path, "direct_url.json"), "rb") as file:
            origin = json.load(file)
    except (OSError, ValueError):  # almost all: installed by name
        return {}
    return origin if isinstance(origin, dict) else {}


def _asked(place: str, path: str | None = None) -> Iterable[tuple[str, str]]:
    """By the standard library: for archives on the path, and folders whose name tells no version."""
    from importlib import metadata
    from pathlib import Path

    try:
        found = (
            metadata.distributions(path=[place]) if path is None else [metadata.Distribution.at(Path(path))]
        )
        for distribution in found:
            name, version = distribution.metadata["Name"], distribution.metadata["Version"]
            if name and version:
                yield _normal(name), f"{_normal(name)}=={version}"
    except Exception:  # half an installation; the others are told
        return


def _normal(name: str) -> str:
    """The form under which names are the same (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
