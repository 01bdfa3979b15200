"""Addresses that others can follow: of git repositories and of files that have no version. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote

from ..storage.masking import mask_address

_SCP = re.compile(r"(?:(?P<user>[^@/\s]+)@)?(?P<host>[^:/\s]+):(?P<path>[^/].*)\Z")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_SAFE = ":/?#[]@!$&'()*+,;=%~-._"  # RFC 3986, and what is escaped already


def repository_url(remote: str) -> str:
    """A git remote as a URL without secrets: the short form of ssh written out, a folder as a file URL.

    >>> repository_url("git@example.org:team/code.git"), repository_url("https://ada:pw@example.org/c")
    ('ssh://git@example.org/team/code.git', 'https://example.org/c')
    """
    if "://" in remote:
        return iri(mask_address(remote))
    match = None if _DRIVE.match(remote) else _SCP.match(remote)
    if match:
        user = f"{match['user']}@" if match["user"] else ""
        return iri(f"ssh://{user}{match['host']}/{match['path']}")
    return file_url(remote)


def file_url(path: str) -> str:
    """A path as a URL; of one that is not absolute as a path from wherever that was.

    >>> file_url("/data/a b.csv"), file_url("data/a.csv"), file_url(r"C:\\data\\a.csv")
    ('file:///data/a%20b.csv', 'file:data/a.csv', 'file:///C:/data/a.csv')
    """
    if _DRIVE.match(path):
        path = "/" + path.replace("\\", "/")
    return f"file:{'//' if path.startswith('/') else ''}{quote(path, safe='/:')}"


def iri(text: str) -> str:
    """An address with escapes for what none may have, such as blanks."""
    return quote(text, safe=_SAFE)
