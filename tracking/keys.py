"""The keys that settings name, read from their files: one to sign with, and those that are trusted."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable
from pathlib import Path

from ..registry.signing import PublicKey, Signer, TrustedKeys, has_password, load_public, load_signer
from ..storage.errors import NotFoundError, UsageError
from .settings import SigningChoice

_MAX_BYTES = 64 * 1024
_PEM = "-----BEGIN"


def read_signer(choice: SigningChoice, ask: Callable[[str], str] | None = None) -> Signer:
    """The key to sign with; of one with a password that nobody has given, `ask` may be asked for it.

    Raises: UsageError when no key is named, it is none, or its password is missing or wrong; NotFoundError.
    """
    if choice.key is None:
        raise UsageError(
            'no key to sign with; make one with "art key new NAME" and name its file in LINEART_SIGNING_KEY'
            " or as signing_key in lineart.toml"
        )
    if choice.key.lstrip().startswith(_PEM):
        pem, name = choice.key.strip().encode(), f"the key in {choice.key_from}"
    else:
        pem, name = _read(choice.key, choice.key_from), f"key {choice.key}"
    password = choice.password
    if password is None and ask is not None and has_password(pem):
        password = ask(name)
    return load_signer(pem, None if password is None else password.encode(), name)


def read_key(path: Path, password: str | None) -> PublicKey | Signer:
    """The public or private key in a file. Raises: NotFoundError, UsageError."""
    pem = _read(str(path), "FILE")
    if b"PRIVATE KEY-----" not in pem:
        return load_public(pem, str(path))
    return load_signer(pem, None if password is None else password.encode(), f"key {path}")


def read_trusted(choice: SigningChoice) -> TrustedKeys:
    """The keys that are trusted, by the stems of their files; none when nobody is.

    Raises: NotFoundError for a file that is not there or a pattern without files; UsageError for what is no public key,
    and for two keys with one name.
    """
    return read_keys(choice.trusted, choice.trusted_from)


def read_keys(patterns: Iterable[str], origin: str) -> TrustedKeys:
    """The public keys in files, by their stems; `origin` says who named them. Raises: as `read_trusted`."""
    found: dict[str, tuple[str, PublicKey]] = {}
    for pattern in patterns:
        paths = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern))
        if not paths:
            raise NotFoundError(f"trusted key {pattern} (of {origin}) is not there; correct the path")
        for path in paths:
            key, name = load_public(_read(path, origin), f"trusted key {path}"), Path(path).stem
            before, known = found.setdefault(name, (path, key))
            if known != key:
                raise UsageError(
                    f"trusted keys {before} and {path} are two keys with the name {name!r}; rename one"
                )
    return TrustedKeys({name: key for name, (_, key) in found.items()})


def find_keys(names: Iterable[str], choice: SigningChoice) -> TrustedKeys:
    """Those keys that are meant by the path of a public key, or by the name of a trusted one.

    Raises: NotFoundError naming the trusted ones; UsageError.
    """
    found: dict[str, PublicKey] = {}
    trusted: TrustedKeys | None = None
    for name in names:
        if Path(name).is_file():
            stem = Path(name).stem
            found[name if stem in found else stem] = load_public(_read(name, "--signed-by"), f"key {name}")
            continue
        trusted = read_trusted(choice) if trusted is None else trusted
        key = trusted.named(name)
        if key is None:
            known = ", ".join(trusted.names()) or "none"
            raise NotFoundError(f"key {name!r} is no file, and not the name of a trusted key ({known})")
        found[name] = key
    return TrustedKeys(found)


def _read(path: str, origin: str) -> bytes:
    try:
        with Path(path).expanduser().open("rb") as file:
            return file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise NotFoundError(f"key {path} (of {origin}) is not there; correct the path") from None
    except OSError as error:
        raise UsageError(f"key {path} (of {origin}): {error.strerror or error}") from error
