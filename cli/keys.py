"""`art key`: keys to sign with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from .options import common_options, json_option
from .output import say, say_facts, say_json

PASSWORD = "LINEART_SIGNING_KEY_PASSWORD"


@click.group()
@common_options
def key() -> None:
    """Make keys to sign with, and look at them.

    A key is two files: NAME.key, which is secret and named in LINEART_SIGNING_KEY, and NAME.pub, which is given to
    those who are to trust it and named in LINEART_TRUSTED_KEYS, or as keys of [trust] in lineart.toml.

    \b
    art key new release
    art key show release.pub
    """


@key.command()
@click.argument("name", metavar="NAME")
@click.option("--ec", is_flag=True, help="ECDSA over P-256, for model signing; else Ed25519.")
@click.option(
    "--password", "protected", is_flag=True, help=f"Encrypt it; the password is asked, or in {PASSWORD}."
)
@json_option
@common_options
def new(name: str, ec: bool, protected: bool, as_json: bool) -> None:
    """Make a key: NAME.key, for nobody else's eyes, and NAME.pub.

    NAME may begin with a folder. Files that exist are never overwritten.

    With --json: id, kind, private, public (paths).

    \b
    art key new release --password
    art key new keys/model-signing --ec
    """
    from ..artifacts.names import check_name
    from ..registry.signing import load_public, make_key

    check_name(Path(name).name, "key")
    private, public = Path(f"{name}.key"), Path(f"{name}.pub")
    _demand_free(private, public)
    password = _new_password(name) if protected else None
    secret, pem = make_key("ecdsa-p256" if ec else "ed25519", None if password is None else password.encode())
    _write(private, secret, 0o600)
    _write(public, pem, 0o644)
    made = load_public(pem)
    if as_json:
        say_json({"id": made.key_id, "kind": made.kind, "private": str(private), "public": str(public)})
        return
    say(f"{click.style(str(private), fg='cyan', bold=True)}  {made.kind}, keep it secret")
    say(f"{click.style(str(public), fg='cyan', bold=True)}  its public key, {made.key_id}")


@key.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@common_options
def show(file: Path, as_json: bool) -> None:
    """Show a key's id and kind; of a secret key the public one.

    The id is the SHA-256 of the public key in DER, as openssl prints it too.

    With --json: id, kind, is_private, public (PEM).

    \b
    art key show release.pub
    art key show release.key --json | jq -r .public > release.pub
    """
    from ..registry.signing import Signer
    from ..tracking.keys import read_key

    found = read_key(file, os.environ.get(PASSWORD) or None)
    public, is_private = (found.public, True) if isinstance(found, Signer) else (found, False)
    if as_json:
        pem = public.pem.decode()
        say_json({"id": public.key_id, "kind": public.kind, "is_private": is_private, "public": pem})
        return
    say(f"{click.style(str(file), fg='cyan', bold=True)}  {'private' if is_private else 'public'} key")
    say_facts([("id", public.key_id), ("kind", public.kind)], indent="  ")


def ask_password(name: str) -> str:
    """Ask on the terminal. Raises: UsageError when nobody is there."""
    from ..storage.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(f"{name} has a password; give it in {PASSWORD}")
    answer: str = click.prompt(f"Password of {name}", hide_input=True, err=True)
    return answer


def _new_password(name: str) -> str:
    from ..storage.errors import UsageError

    given = os.environ.get(PASSWORD)
    if given:
        return given
    if not sys.stdin.isatty():
        raise UsageError(f"--password: nobody can be asked here; give the password in {PASSWORD}")
    answer: str = click.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True, err=True)
    return answer


def _demand_free(*paths: Path) -> None:
    from ..storage.errors import UsageError

    for path in paths:
        if os.path.lexists(path):
            raise UsageError(
                f"{path} exists; a key is never overwritten: choose another name, or move it away"
            )


def _write(path: Path, data: bytes, mode: int) -> None:
    """Create the file, with these rights from its first moment. Raises: FileExistsError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
