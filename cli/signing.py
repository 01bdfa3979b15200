"""`art sign`: statements about a version, signed with the key of the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .completion import complete_names
from .keys import ask_password
from .options import common_options, json_option, open_workspace
from .output import Cell, counted, note, printable, say, say_json, say_json_list, say_table, when
from .progress import progress
from .records import attestation_record
from .written import write_whole

if TYPE_CHECKING:
    from ..registry.signing import Signer
    from ..tracking.version_signing import ListedAttestation


@click.command()
@click.argument("name", shell_complete=complete_names)
@click.option("--provenance", is_flag=True, help="Sign which run made it, too: SLSA provenance, in the log.")
@click.option("--slsa", is_flag=True, help="Write signed SLSA provenance to FILE instead.")
@click.option("--model-signing", is_flag=True, help="Write an OpenSSF model signature to FILE instead.")
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Where to."
)
@click.option("--list", "listed", is_flag=True, help="List what was signed about NAME.")
@json_option
@common_options
def sign(
    name: str,
    provenance: bool,
    slsa: bool,
    model_signing: bool,
    output: Path | None,
    listed: bool,
    as_json: bool,
) -> None:
    """Sign a version, or write a signature of it for others.

    The key is the one in LINEART_SIGNING_KEY (a file, or the key itself), else signing_key of lineart.toml; a password
    is taken from LINEART_SIGNING_KEY_PASSWORD, or asked. What is signed: the version's name, digest and size, and how
    far the log goes, so that nothing before can be changed unseen. "art verify NAME --signed-by KEY.pub" checks it.

    A model signature has the SHA-256 of each file; "model_signing verify key" checks it in the folder that the files
    were fetched to. It needs a key that was made with --ec.

    With --json: name, digest, key_id, added, present (kinds); with a FILE name, key_id, file, covered (how many files),
    left_out (paths); with --list a list of kind, predicate_type, key_ids, signed_by (trusted keys whose signature
    fits), logged_by, time, problem.

    \b
    art sign classifier:production --provenance
    art sign classifier:production --model-signing -o model.sig
    art sign classifier:production --list
    """
    if sum((provenance, slsa, model_signing, listed)) > 1:
        raise click.UsageError("--provenance, --slsa, --model-signing, --list: choose one")
    if (slsa or model_signing) != (output is not None):
        raise click.UsageError(
            "--slsa and --model-signing write to a file: give it with -o, which goes with no other"
        )
    if listed:
        _list(name, as_json)
    elif output is None:
        _sign(name, provenance, as_json)
    else:
        _export(name, output, model_signing, as_json)


def find_signer() -> Signer:
    """The key that the settings name; its password is asked if there is somebody."""
    from ..tracking.keys import read_signer
    from ..tracking.settings import find_signing

    return read_signer(find_signing(), ask_password)


def _sign(name: str, provenance: bool, as_json: bool) -> None:
    from ..tracking.version_signing import sign_version

    signer = find_signer()
    done = sign_version(open_workspace(), name, signer, provenance=provenance)
    if as_json:
        found = {"name": str(done.name), "digest": done.digest, "key_id": signer.key_id}
        say_json({**found, "added": list(done.added), "present": list(done.present)})
        return
    shown = click.style(done.name.short, fg="cyan", bold=True)
    for kind in done.added:
        say(f"{shown}  {kind} signed with key {signer.key_id[:16]}")
    for kind in done.present:
        say(f"{shown}  {kind} was signed with key {signer.key_id[:16]} already")


def _export(name: str, output: Path, model_signing: bool, as_json: bool) -> None:
    from ..tracking.version_signing import sign_files, sign_provenance

    signer, workspace = find_signer(), open_workspace()
    version = workspace.version(name)
    record: dict[str, Any] = {"name": str(version.name), "key_id": signer.key_id, "file": str(output)}
    if model_signing:
        with progress("hashing", lambda: version.state.size_bytes) as advance:
            made = sign_files(version, signer, advance)
        write_whole(output, made.data)
        record |= {"covered": made.covered, "left_out": list(made.left_out)}
        words = f"model signature over {counted(made.covered, 'file')}"
        words += f", without {', '.join(made.left_out)}" if made.left_out else ""
    else:
        envelope = sign_provenance(workspace, name, signer)
        write_whole(output, f"{json.dumps(envelope, separators=(',', ':'))}\n".encode())
        record |= {"covered": None, "left_out": []}
        words = "provenance"
    if as_json:
        say_json(record)
    else:
        shown = click.style(str(output), fg="cyan", bold=True)
        say(f"{shown}  {printable(words)} of {version.name.short}, with key {signer.key_id[:16]}")


def _list(name: str, as_json: bool) -> None:
    from ..tracking.keys import read_trusted
    from ..tracking.settings import find_signing
    from ..tracking.version_signing import list_attestations

    choice, workspace = find_signing(), open_workspace()
    trusted = read_trusted(choice) if choice.trusted else None
    version = workspace.version(name, deleted_too=True)
    catalog = workspace.catalog([version.project])
    try:
        found = list_attestations(catalog, str(version.name), trusted)
    finally:
        catalog.close()
    if as_json:
        say_json_list(attestation_record(one) for one in found)
    elif found:
        say_table("KIND SIGNED-BY TIME STATE", (_row(one, trusted is not None) for one in found))
    else:
        note(f'nothing was signed about {version.name.short}; "art sign" signs it')


def _row(found: ListedAttestation, is_checked: bool) -> list[str | Cell]:
    keys = found.signed_by or tuple(key_id[:16] for key_id in found.key_ids)
    if found.problem is not None:
        state = Cell(printable(found.problem), fg="red")
    else:
        state = Cell("the signature fits", fg="green") if is_checked else Cell("not checked", dim=True)
    return [printable(found.kind), ", ".join(keys), when(found.time), state]
