"""`Html`: a page."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import Any

from ...storage.errors import UsageError
from .content import FileMedia, LocalContent, MemoryContent

_EXTENSIONS = (".html", ".htm", ".xhtml")
# What a bare fragment lacks: links that leave the frame it is shown in, and a legible typeface.
_INJECTED = (
    '<base target="_blank">'
    "<style>body{margin:.5rem;font:14px/1.5 system-ui,sans-serif}table{border-collapse:collapse}"
    "td,th{padding:.2em .6em;border:1px solid #ccc}</style>"
)


class Html(FileMedia):
    """A page from text, a file or an open file.

    Text is the page, unless it is the path of a file ``.html`` that exists. `inject` puts a small style sheet into
    the page's head, and lets links open outside of the frame.

    >>> Html("<b>0.93</b>", inject=False).html
    '<b>0.93</b>'
    """

    kind = "html-file"
    folder = "media/html"

    def __init__(
        self, data: Any, inject: bool = True, data_is_not_path: bool = False, caption: object = None
    ) -> None:
        """Raises: UsageError for what is no page; NotFoundError for a path object that does not exist."""
        if isinstance(data, Html):
            text = data.html
            inject = False
        elif hasattr(data, "read"):
            if hasattr(data, "seek"):
                data.seek(0)
            text = _text(data.read(), "the open file")
        elif isinstance(data, str) and (data_is_not_path or not _is_page(data)):
            text = data
        elif isinstance(data, str | os.PathLike):
            content = LocalContent(data)
            text = _text(content.read(), str(content.path))
        else:
            raise UsageError(
                f"Html: {type(data).__name__} is not a page; expected text, a path or an open file"
            )
        if inject:
            text = _with_style(text)
        # A lone surrogate has no UTF-8 form; as a character reference a browser shows its replacement sign.
        super().__init__(MemoryContent(text.encode("utf-8", "xmlcharrefreplace"), ".html"), caption, {})

    @property
    def html(self) -> str:
        """The text of the page, as it is kept."""
        return self.read().decode("utf-8")

    def _repr_html_(self) -> str:
        page = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:400px;border:0"></iframe>'


def _is_page(text: str) -> bool:
    if not text.lower().endswith(_EXTENSIONS) or "\n" in text or "<" in text:
        return False
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False  # no path: too long, or with a NUL


def _text(read: str | bytes, what: str) -> str:
    if isinstance(read, str):
        return read
    try:
        return read.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"Html: {what} is not UTF-8: {error}") from error


def _with_style(text: str) -> str:
    """The page with the style sheet first in its head, so that its own rules win."""
    for tag, before, after in (
        ("head", "", ""),
        ("html", "<head>", "</head>"),
        ("!doctype", "<head>", "</head>"),
    ):
        found = re.search(rf"<{tag}(\s[^>]*)?>", text, re.IGNORECASE)
        if found is not None:
            return f"{text[: found.end()]}{before}{_INJECTED}{after}{text[found.end() :]}"
    return f'<!doctype html><html><head><meta charset="utf-8">{_INJECTED}</head><body>{text}</body></html>'
