"""Licences and citations as people write them into metadata: a text, a list, or a dictionary with a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TELLING = ("id", "name", "url")  # keys of a dictionary that say which one it is, the first that is there
# Of the list of SPDX what is met most, without regard to case: the Hub writes all in small letters.
_SPDX = {
    known.lower(): known
    for known in (
        "0BSD", "AFL-3.0", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause",
        "BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0", "C-UDA-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0",
        "CC-BY-4.0", "CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0",
        "CC-BY-NC-SA-2.0", "CC-BY-NC-SA-3.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0",
        "CC0-1.0", "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "ECL-2.0", "EPL-1.0", "EPL-2.0",
        "EUPL-1.1", "EUPL-1.2", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later", "ISC",
        "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later", "MIT", "MIT-0", "MPL-2.0",
        "MS-PL", "NCSA", "ODbL-1.0", "ODC-By-1.0", "OFL-1.1", "OSL-3.0", "PDDL-1.0", "PostgreSQL", "Unlicense",
        "WTFPL", "Zlib",
    )
}  # fmt: skip


def texts_of(value: Any) -> str | list[str] | None:
    """A text or list of texts; of a dictionary its id, name or url; None when there is nothing to say.

    >>> texts_of("mit"), texts_of(["mit", {"name": "Ours"}]), texts_of({"url": "https://x"}), texts_of({"a": 1})
    ('mit', ['mit', 'Ours'], 'https://x', None)
    """
    if isinstance(value, list):
        return [text for item in value if (text := _text(item))] or None
    return _text(value)


def bill_entries(value: Any) -> list[dict[str, Any]]:
    """The licences of a component as CycloneDX has them, by their SPDX ids where they have one.

    >>> bill_entries(["apache-2.0", {"name": "Ours", "url": "https://x"}])
    [{'license': {'id': 'Apache-2.0'}}, {'license': {'name': 'Ours', 'url': 'https://x'}}]
    """
    entries = []
    for item in value if isinstance(value, list) else [value]:
        text = _text(item)
        if text is None:
            continue
        known = _SPDX.get(text.lower())
        entry = {"name": text} if known is None else {"id": known}
        url = item.get("url") if isinstance(item, Mapping) else None
        if isinstance(url, str) and url:
            entry["url"] = url
        if {"license": entry} not in entries:
            entries.append({"license": entry})
    return entries


def _text(value: Any) -> str | None:
    if isinstance(value, Mapping):
        value = next((value[key] for key in _TELLING if isinstance(value.get(key), str) and value[key]), None)
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value) or None
    return None
