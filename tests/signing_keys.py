"""Keys that tests sign with, made once in each process."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from lineart.registry.signing import Signer, TrustedKeys, load_signer, make_key


@functools.cache
def _made(name: str, kind: str) -> tuple[bytes, bytes]:
    return make_key(kind)


def pair(name: str, kind: str = "ed25519") -> tuple[bytes, bytes]:
    """The private and the public key of somebody, in PEM."""
    return _made(name, kind)


def signer(name: str, kind: str = "ed25519") -> Signer:
    """Somebody who signs."""
    return load_signer(pair(name, kind)[0])


def trusting(*names: str) -> TrustedKeys:
    """The public keys of these people."""
    return TrustedKeys.load({name: pair(name)[1] for name in names})


def sign_as(name: str, folder: Path, patch: pytest.MonkeyPatch, kind: str = "ed25519") -> Path:
    """Be somebody, who signs with a key; the file with the public one."""
    private, public = pair(name, kind)
    patch.setenv("LINEART_SIGNING_KEY", private.decode())
    patch.setenv("LOGNAME", name)
    path = folder / f"{name}.pub"
    path.write_bytes(public)
    return path
