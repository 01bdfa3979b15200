"""Keys: what is taken for one, what is not, and that openssl's own tools mean the same by them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

import signing_keys
from lineart.registry.signing import KINDS, TrustedKeys, load_public, load_signer, make_key
from lineart.storage.errors import UsageError


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("password", [None, b"open sesame"])
def test_signature_is_one_that_the_library_itself_accepts(kind: str, password: bytes | None) -> None:
    private, public = make_key(kind, password)
    signer = load_signer(private, password)
    assert (signer.public_pem, signer.public.kind) == (public, kind)
    key = load_public(public).verifier._crypto_key()
    args = (ec.ECDSA(SHA256()),) if kind == "ecdsa-p256" else ()
    key.verify(signer.sign(b"data"), b"data", *args)  # type: ignore[attr-defined, call-arg, union-attr]


def test_key_id_is_what_openssl_and_sha256sum_print(tmp_path: Path) -> None:
    private, public = signing_keys.pair("ann")
    (tmp_path / "ann.pub").write_bytes(public)
    printed = subprocess.run(
        "openssl pkey -pubin -in ann.pub -outform DER | sha256sum",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.split()[0] == load_signer(private).key_id


def test_secrets_are_in_no_representation() -> None:
    private, _ = signing_keys.pair("ann")
    shown = repr(signing_keys.signer("ann"))
    assert "PRIVATE" not in shown
    assert private.decode().splitlines()[1] not in shown


@pytest.mark.parametrize("password", [None, b"", b"wrong", b"open sesam"])
def test_missing_or_wrong_password_is_told(password: bytes | None) -> None:
    private, _ = make_key(password=b"open sesame")
    with pytest.raises(UsageError, match="password"):
        load_signer(private, password, "release.key")


def test_password_for_a_key_without_one_is_passed_over() -> None:
    private, _ = signing_keys.pair("ann")
    assert load_signer(private, b"whatever").key_id == signing_keys.signer("ann").key_id


def other_key(kind: str, private: bool) -> bytes:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    if private:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("kind", ["rsa", "p384"])
def test_key_of_another_kind_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match="another kind"):
        load_signer(other_key(kind, True))
    with pytest.raises(UsageError, match="another kind"):
        load_public(other_key(kind, False))


@pytest.mark.parametrize(
    "pem", [b"", b"hello", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"x" * 10**6]
)
def test_what_is_no_key_is_refused(pem: bytes) -> None:
    with pytest.raises(UsageError, match=r"no public key.*expected PEM"):
        load_public(pem, "x.pub")
    with pytest.raises(UsageError, match="no private key"):
        load_signer(pem, None, "x.key")


def test_private_key_is_not_taken_for_a_public_one() -> None:
    with pytest.raises(UsageError, match="private key; give the public one"):
        load_public(signing_keys.pair("ann")[0], "ann.key")


def test_unknown_kind_and_empty_password_make_no_key() -> None:
    with pytest.raises(UsageError, match="expected one of ed25519, ecdsa-p256"):
        make_key("rsa")
    with pytest.raises(UsageError, match="empty password"):
        make_key(password=b"")


def test_key_under_two_names_has_the_first() -> None:
    public = signing_keys.pair("ann")[1]
    keys = TrustedKeys.load({"ann": public, "also-ann": public, "bob": signing_keys.pair("bob")[1]})
    assert (len(keys), keys.names()) == (2, ["ann", "bob"])
    assert keys.name(signing_keys.signer("ann").key_id) == "ann"
    assert keys.named("also-ann") is None


WITHOUT = """
import sys
sys.modules["securesystemslib"] = None
from lineart.registry import signing
try:
    signing.make_key()
except signing.keys.UsageError as error:
    print(error)
"""


def test_missing_library_names_the_extra() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert 'pip install "lineart[sign]"' in done.stdout


def test_library_is_loaded_only_when_it_is_needed() -> None:
    code = (
        "import sys, lineart.registry.signing, lineart.tracking.version_signing, lineart.tracking.keys;"
        "print([m for m in ('cryptography', 'securesystemslib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
