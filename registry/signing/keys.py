"""Keys to sign with and keys to trust: Ed25519, or ECDSA over P-256 for those who ask for it.

Private keys are PKCS #8 in PEM, public ones SubjectPublicKeyInfo in PEM, as `openssl` writes and reads them. A key's id
is the SHA-256 of its public key's SubjectPublicKeyInfo in DER (what ``openssl pkey -pubout -outform DER | sha256sum``
prints); a key's name is given by whoever trusts it, and is no part of any signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...storage.errors import UsageError

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, SSlibKey  # pyright: ignore[reportPrivateImportUsage]

KINDS = ("ed25519", "ecdsa-p256")
_MAX_PEM_BYTES = 64 * 1024  # of a key; what is longer is none


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that signatures are checked with."""

    key_id: str  # 64 hexadecimal digits
    kind: str  # of `KINDS`
    pem: bytes
    verifier: SSlibKey = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key. It is neither printed nor compared."""

    public: PublicKey
    _signer: CryptoSigner = field(repr=False, compare=False)

    @property
    def key_id(self) -> str:
        """The id of the public key."""
        return self.public.key_id

    @property
    def public_pem(self) -> bytes:
        """The public key, as it is given to those who are to trust it."""
        return self.public.pem

    def sign(self, data: bytes) -> bytes:
        """The signature over `data`: 64 bytes of Ed25519 (RFC 8032), or ECDSA with SHA-256 in DER."""
        return bytes.fromhex(self._signer.sign(data).signature)


class TrustedKeys(Mapping[str, PublicKey]):
    """Public keys by their id, with the names that they are trusted under."""

    def __init__(self, keys: Mapping[str, PublicKey] | None = None) -> None:
        """`keys` are by name; a key that stands under several names has the first."""
        self._by_id: dict[str, PublicKey] = {}
        self._names: dict[str, str] = {}
        for name, key in (keys or {}).items():
            self._by_id.setdefault(key.key_id, key)
            self._names.setdefault(key.key_id, name)

    @classmethod
    def load(cls, pems: Mapping[str, bytes]) -> TrustedKeys:
        """From name → PEM. Raises: UsageError naming what is no public key."""
        return cls({name: load_public(pem, name) for name, pem in pems.items()})

    def name(self, key_id: str) -> str:
        """What the key is called here, its id if it is not trusted."""
        return self._names.get(key_id, key_id)

    def named(self, name: str) -> PublicKey | None:
        """The key with this name, None if there is none."""
        return next((self._by_id[key_id] for key_id, known in self._names.items() if known == name), None)

    def names(self) -> list[str]:
        """All names."""
        return list(self._names.values())

    def __getitem__(self, key_id: str) -> PublicKey:
        return self._by_id[key_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self._by_id)


def demand_libraries() -> None:
    """See that what signing needs is installed. Raises: UsageError."""
    try:
        import cryptography  # noqa: F401
        import securesystemslib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f'signatures need the package {error.name}; install it with: pip install "lineart[sign]"'
        ) from error


def make_key(kind: str = "ed25519", password: bytes | None = None) -> tuple[bytes, bytes]:
    """A new key: the private one (PEM of PKCS #8, encrypted with `password` if there is one) and the public one (PEM).

    Raises: UsageError for another kind or an empty password.
    """
    demand_libraries()
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        KeySerializationEncryption,
        NoEncryption,
        PrivateFormat,
    )

    if kind not in KINDS:
        raise UsageError(f"key of kind {kind!r}: expected one of {', '.join(KINDS)}")
    if password == b"":
        raise UsageError("an empty password protects no key; give one, or none")
    private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
    if kind == "ed25519":
        private = ed25519.Ed25519PrivateKey.generate()
    else:
        private = ec.generate_private_key(ec.SECP256R1())
    protection: KeySerializationEncryption = NoEncryption()
    if password is not None:
        protection = BestAvailableEncryption(password)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
    return pem, _public(private.public_key(), "new key").pem


def has_password(pem: bytes) -> bool:
    """Whether a private key in PEM is encrypted."""
    return b"ENCRYPTED" in pem  # in the heading of PKCS #8, in a header of older forms


def load_signer(pem: bytes, password: bytes | None = None, name: str = "signing key") -> Signer:
    """A private key out of its PEM; `name` is what messages call it.

    Raises: UsageError for what is no private key of `KINDS`, and for a password that is missing or wrong.
    """
    demand_libraries()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner  # pyright: ignore[reportPrivateImportUsage]

    if len(pem) > _MAX_PEM_BYTES:
        raise UsageError(f"{name}: {len(pem)} bytes are no private key; expected PEM of PKCS #8")
    is_encrypted = has_password(pem)
    if is_encrypted and not password:
        raise UsageError(f"{name} has a password; give it in LINEART_SIGNING_KEY_PASSWORD")
    try:
        private: Any = load_pem_private_key(pem, password if is_encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if is_encrypted:
            raise UsageError(f"{name}: the password does not open it, or it is damaged") from error
        raise UsageError(f'{name} is no private key; expected PEM of PKCS #8 ("art key new")') from error
    public = _public(private.public_key(), name)
    return Signer(public, CryptoSigner(private, public.verifier))


def load_public(pem: bytes, name: str = "public key") -> PublicKey:
    """A public key out of its PEM; `name` is what messages call it.

    Raises: UsageError for what is no public key of `KINDS`.
    """
    demand_libraries()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY-----" in pem[:_MAX_PEM_BYTES]:
        raise UsageError(f"{name} is a private key; give the public one (NAME.pub), and keep this one secret")
    try:
        if len(pem) > _MAX_PEM_BYTES:
            raise ValueError("it is too long")
        public = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{name} is no public key; expected PEM of SubjectPublicKeyInfo") from error
    return _public(public, name)


def _public(public: Any, name: str) -> PublicKey:
    """Raises: UsageError for a key of a kind that is not used here."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from securesystemslib.signer import SSlibKey  # pyright: ignore[reportPrivateImportUsage]

    if isinstance(public, ed25519.Ed25519PublicKey):
        kind = "ed25519"
    elif isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        kind = "ecdsa-p256"
    else:
        found = getattr(getattr(public, "curve", None), "name", type(public).__name__)
        raise UsageError(f"{name} is a key of another kind ({found}); expected one of {', '.join(KINDS)}")
    key_id = hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(key_id, kind, pem, SSlibKey.from_crypto(public, keyid=key_id))
