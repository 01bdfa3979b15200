"""Logging a model that its library writes to a file or folder."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..tracking.artifact import Artifact
from .plain_settings import plain_settings

if TYPE_CHECKING:
    from ..tracking.run import Run


def log_model_files(
    run: Run,
    name: str,
    write: Callable[[Path], object],
    *,
    metadata: Mapping[str, Any] = {},
    aliases: Sequence[str] = (),
    description: str | None = None,
) -> Artifact:
    """What `write` puts into the folder that it is given, as a version of the model `name`."""
    with tempfile.TemporaryDirectory(prefix="lineart-model-") as folder:
        write(Path(folder))
        return log_model_path(
            run, name, Path(folder), metadata=metadata, aliases=aliases, description=description
        )


def log_model_path(
    run: Run,
    name: str,
    path: Path,
    *,
    file_name: str | None = None,
    metadata: Mapping[str, Any] = {},
    aliases: Sequence[str] = (),
    description: str | None = None,
) -> Artifact:
    """The file or folder at `path` as a version of the model `name`; a file is called `file_name` in it."""
    artifact = Artifact(name, type="model", description=description, metadata=plain_settings(metadata))
    if path.is_dir():
        artifact.add_dir(path)
    else:
        artifact.add_file(path, name=file_name)
    return run.log_artifact(artifact, aliases=[fitting(alias) for alias in aliases])


def fitting(name: str) -> str:
    """`name` with what names of artifacts and aliases may not have as ``-``.

    >>> fitting("epoch 1/2")
    'epoch-1-2'
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:128]
