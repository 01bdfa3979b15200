"""The files of a run, read back."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..artifacts.paths import check_path
from ..storage.errors import UsageError

if TYPE_CHECKING:
    from .run_files import RunFiles


class RunFile:
    """One file that a run saved."""

    def __init__(self, files: RunFiles, name: str) -> None:
        self._files = files
        self.name = name

    @property
    def size(self) -> int:
        """Bytes."""
        return self._files.size(self.name)

    def open(self) -> IO[Any]:
        """A seekable reader of its bytes. Raises: NotFoundError, IntegrityError, CommError."""
        return self._files.open(self.name)

    def download(
        self, root: str | os.PathLike[str] = ".", replace: bool = False, exist_ok: bool = False
    ) -> str:
        """Write it below the folder `root`, under its own path; the path written to.

        A file that is there already is replaced with `replace` and left alone with `exist_ok`; else that is an error.
        Raises: UsageError, NotFoundError, IntegrityError, CommError, StoreError.
        """
        target = Path(root) / check_path(self.name)
        if target.exists() and not replace:
            if exist_ok:
                return str(target)
            raise UsageError(
                f"{target} exists; pass replace=True to write it again, exist_ok=True to keep it"
            )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=f".{target.name}~", dir=target.parent)
            try:
                with os.fdopen(handle, "wb") as written, self.open() as source:
                    shutil.copyfileobj(source, written, 1 << 18)
                os.chmod(temporary, 0o666 & ~_umask())
                os.replace(temporary, target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise UsageError(f"{target}: {error.strerror or error}; choose another root") from error
        return str(target)

    def __repr__(self) -> str:
        return f"<RunFile {self.name} ({self.size} bytes)>"


def _umask() -> int:
    """The process's mask; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
