"""Names: what may stand in one, and how `entity/project/name:alias` is read."""

from __future__ import annotations

import bisect
import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..storage.errors import InvalidNameError

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}\Z")
_VERSION = re.compile(r"v(0|[1-9][0-9]{0,17})\Z")
_COMPARED = 1000  # names on each side


def check_name(name: object, what: str) -> str:
    """Return `name` if it may name a `what` (a collection, project, alias, …), else raise `InvalidNameError`.

    >>> check_name("digits-8x8", "collection")
    'digits-8x8'
    """
    if not isinstance(name, str) or not _NAME.match(name) or name in (".", ".."):
        raise InvalidNameError(f"{what} {name!r}: expected 1 to 128 of A-Z a-z 0-9 _ . -")
    return name


def check_alias(alias: object) -> str:
    """Return `alias` if it may be one; ``v7`` may not, it always means the version. Raises: InvalidNameError."""
    name = check_name(alias, "alias")
    if parse_version(name) is not None:
        raise InvalidNameError(f"alias {name!r}: names of the form v<number> are the versions themselves")
    return name


def parse_version(text: str) -> int | None:
    """The number in ``v<number>``, None for anything else.

    >>> parse_version("v12"), parse_version("latest"), parse_version("v012")
    (12, None, None)
    """
    match = _VERSION.match(text)
    return int(match.group(1)) if match else None


@dataclass(frozen=True, slots=True)
class ProjectName:
    """A project and its entity."""

    entity: str
    project: str

    def __str__(self) -> str:
        return f"{self.entity}/{self.project}"

    @classmethod
    def parse(cls, text: str, default: ProjectName) -> ProjectName:
        """Read ``[entity/]project``. Raises: InvalidNameError.

        >>> str(ProjectName.parse("digits", ProjectName("team", "other")))
        'team/digits'
        """
        parts = text.split("/")
        if len(parts) > 2:
            raise InvalidNameError(f"project {text!r}: expected [entity/]project")
        entity = parts[0] if len(parts) == 2 else default.entity
        return cls(check_name(entity, "entity"), check_name(parts[-1], "project"))


@dataclass(frozen=True, slots=True)
class ArtifactName:
    """A collection in a project and which of its versions is meant: ``v7``, or an alias."""

    project: ProjectName
    collection: str
    reference: str = "latest"

    def __str__(self) -> str:
        return f"{self.project}/{self.collection}:{self.reference}"

    @property
    def short(self) -> str:
        """Without the project."""
        return f"{self.collection}:{self.reference}"

    @classmethod
    def parse(cls, text: str, default: ProjectName) -> ArtifactName:
        """Read ``[[entity/]project/]name[:alias or vN]``. Raises: InvalidNameError.

        >>> str(ArtifactName.parse("digits/model:v3", ProjectName("team", "other")))
        'team/digits/model:v3'
        """
        if not isinstance(text, str):
            raise InvalidNameError(f"artifact name {text!r}: expected [[entity/]project/]name[:alias]")
        path, colon, reference = text.partition(":")
        *project, collection = path.split("/")
        if len(project) > 2:
            raise InvalidNameError(f"artifact name {text!r}: expected [[entity/]project/]name[:alias]")
        check_name(collection, "artifact name")
        reference = check_name(reference, "alias") if colon else "latest"
        return cls(
            ProjectName.parse("/".join(project), default) if project else default, collection, reference
        )


def split_path(text: str) -> tuple[str, str | None]:
    """Split ``name:alias/path/in/it`` into name and path; the path begins after the alias's first slash.

    >>> split_path("team/digits/data:v1/train/0.png"), split_path("data:v1")
    (('team/digits/data:v1', 'train/0.png'), ('data:v1', None))
    """
    head, colon, tail = text.partition(":")
    reference, slash, path = tail.partition("/")
    return (f"{head}{colon}{reference}", path) if colon and slash else (text, None)


def nearest(wrong: str, known: Iterable[str]) -> str:
    """A hint for a message: the known names most like `wrong`, or the empty string.

    >>> nearest("prodution", ["latest", "production"])
    "; did you mean 'production'?"
    """
    names = sorted(set(known))
    at = bisect.bisect(names, wrong)  # of very many only the neighbours: a comparison with 300,000 takes 6 s
    around = names[max(0, at - _COMPARED) : at + _COMPARED]
    close = difflib.get_close_matches(wrong, around, n=3, cutoff=0.5)
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    if not names:
        return "; there are none yet"
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"; there are: {shown}"
