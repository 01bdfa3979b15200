"""Names as people type them: with a path behind, with or without an alias."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..artifacts.names import split_path
from ..storage.errors import InvalidNameError

if TYPE_CHECKING:
    from ..tracking.workspace import Workspace


def split_file(workspace: Workspace, text: str) -> tuple[str, str | None]:
    """Divide ``NAME[:ALIAS][/PATH]`` into name and path.

    Behind an alias or a version the path begins at the first slash. Without one a slash may also divide entity,
    project and name: what names an artifact as a whole is that; else the path begins where an artifact's name ends.
    """
    name, path = split_path(text)
    if path is not None or ":" in text or _exists(workspace, text):
        return name, path or None
    parts = text.split("/")
    for end in range(1, len(parts)):
        head = "/".join(parts[:end])
        if _exists(workspace, head):
            return head, "/".join(parts[end:]) or None
    return text, None


def _exists(workspace: Workspace, text: str) -> bool:
    try:
        name = workspace.parse(text)
    except InvalidNameError:
        return False
    return name.collection in workspace.project(name.project).state().collections
