"""`Molecule`: the structure of a molecule, in one of the formats of chemistry."""

from __future__ import annotations

import os
from typing import Any

from ...storage.errors import UsageError
from .content import Content, FileMedia, LocalContent, MemoryContent

FORMATS = ("pdb", "pqr", "mmcif", "mcif", "cif", "sdf", "sd", "gro", "mol2", "mmtf")


class Molecule(FileMedia):
    """A molecule from a file, or from its text or an open file together with `file_type`.

    >>> Molecule("ATOM      1  N   MET A   1", file_type="pdb").format
    'pdb'
    """

    kind = "molecule-file"
    folder = "media/molecule"

    def __init__(self, data_or_path: Any, caption: object = None, file_type: str | None = None) -> None:
        """`file_type` is pdb, pqr, mmcif, mcif, cif, sdf, sd, gro, mol2 or mmtf.

        Raises: UsageError for another format; NotFoundError for a path that does not exist.
        """
        extension = None if file_type is None else _known(str(file_type), "Molecule file_type")
        if hasattr(data_or_path, "read"):
            if extension is None:
                raise UsageError(
                    'Molecule of an open file needs its file_type; Molecule(file, file_type="pdb")'
                )
            data_or_path.seek(0)
            content: Content = MemoryContent(_bytes(data_or_path.read()), f".{extension}")
        elif isinstance(data_or_path, str | bytes) and extension is not None:
            content = MemoryContent(_bytes(data_or_path), f".{extension}")
        elif isinstance(data_or_path, str | os.PathLike):
            name = os.fspath(data_or_path)
            if "\n" in name:
                raise UsageError('Molecule of text needs its file_type; Molecule(text, file_type="pdb")')
            found = _known(os.path.splitext(name)[1], f"Molecule {name!r}")
            content = LocalContent(data_or_path, f".{extension or found}")
        else:
            raise UsageError(
                f"Molecule: {type(data_or_path).__name__} is no molecule; expected a path, text or an open file"
            )
        super().__init__(content, caption, {})

    @property
    def text(self) -> str:
        """The file as text. Raises: UsageError for mmtf, which is binary."""
        try:
            return self.read().decode()
        except UnicodeDecodeError:
            raise UsageError(
                f"Molecule: this {self.format} file is not text; read() gives its bytes"
            ) from None


def _known(given: str, what: str) -> str:
    found = given.lower().removeprefix(".")
    if found not in FORMATS:
        raise UsageError(f"{what}: {found!r} is not one of {', '.join(FORMATS)}")
    return found


def _bytes(read: str | bytes) -> bytes:
    return read.encode() if isinstance(read, str) else read
