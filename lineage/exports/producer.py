"""Who writes an export: this package, by its own metadata."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

_PACKAGE = "lineart"
_LINKS = ("source", "repository", "source code", "homepage")  # of the package's own, the most telling first


@dataclass(frozen=True, slots=True)
class Producer:
    """Name, version and a URI that means both."""

    name: str
    version: str
    uri: str


def this_producer() -> Producer:
    """The installed package. Its URI is the project link of its metadata, else its package URL (purl).

    >>> this_producer().uri.startswith(("pkg:pypi/lineart@", "http"))
    True
    """
    try:
        found = metadata.metadata(_PACKAGE)
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return Producer(_PACKAGE, "0", f"pkg:pypi/{_PACKAGE}")
    links = {}
    for line in found.get_all("Project-URL") or []:
        label, _, url = line.partition(",")
        links[label.strip().lower()] = url.strip()
    chosen = next((links[label] for label in _LINKS if label in links), None)
    return Producer(_PACKAGE, found["Version"], chosen or f"pkg:pypi/{_PACKAGE}@{found['Version']}")
