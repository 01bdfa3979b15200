"""`art init` and `art status`: making a store and looking at the one in use."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import chosen_by, common_options, find_given_settings, given, json_option, open_workspace
from .output import Cell, counted, note, printable, say, say_facts, say_json, size_words, when

if TYPE_CHECKING:
    from ..storage.store import Store
    from ..tracking.settings import StoreChoice
    from ..tracking.workspace import Workspace

SETTINGS_FILE = "lineart.toml"


@click.command()
@click.argument("url", required=False)
@click.option("--entity", help="The team or person that projects of this store belong to.")
@click.option(
    "--log",
    "log_address",
    metavar="URL",
    help="The PostgreSQL database that is to have the logs: postgresql://host/database, without a password.",
)
@click.option(
    "--here/--no-config",
    default=None,
    help=f"Write {SETTINGS_FILE} into this folder, or do not. Without either it is written when URL,"
    " --project or --entity is given and LINEART_STORE is not set.",
)
@json_option
@common_options
@click.pass_context
def init(
    ctx: click.Context,
    url: str | None,
    entity: str | None,
    log_address: str | None,
    here: bool | None,
    as_json: bool,
) -> None:
    """Make a store, and use it in this folder.

    URL is a folder or something like s3://bucket/prefix; without it the store that the settings name is made, else
    ~/.lineart. The store is tried out first: it must be able to create a key exactly once. Making one that
    exists already changes nothing. A lineart.toml that says something else is never overwritten.

    With --log the transactions of all projects lie in a PostgreSQL database, for thousands of commits a second;
    everybody who opens the store uses it. It needs pip install "lineart[postgres]". See docs/postgresql.md.

    With --json: store, created, log (null: in the store), entity, project, settings_file, settings_written.

    \b
    art init ./store --project digits
    art init s3://team-bucket/lineart --entity vision
    art init s3://team-bucket/lineart --log postgresql://db.example.org/lineart
    """
    from ..tracking.settings import find_settings

    typed = url or given(ctx, "store")
    settings = find_settings(store=typed, project=given(ctx, "project"), entity=entity)
    wanted = {"store": typed, "project": given(ctx, "project"), "entity": entity}
    content = {key: value for key, value in wanted.items() if value is not None}
    if here is None:
        here = bool(content) and not os.environ.get("LINEART_STORE")
    if here and typed is None:
        content = {"store": settings.store, **content}
    file = Path.cwd() / SETTINGS_FILE
    is_new_file = here and must_write(file, content)  # refused before a store is made
    store, is_new = _make(settings, log_address)
    try:
        if is_new_file:
            lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in content.items()]
            file.write_text("".join(lines), encoding="utf-8")
        facts = {
            "store": store.url,
            "created": is_new,
            "log": _shown_log(store),
            "entity": settings.entity or store.settings.entity,
            "project": settings.project,
            "settings_file": str(file) if here else None,
            "settings_written": is_new_file,
        }
    finally:
        store.close()
    if as_json:
        say_json(facts)
    else:
        _say_made(facts, settings)


def must_write(file: Path, content: dict[str, str]) -> bool:
    """Whether the settings file is to be written; not if it says the same. Raises: UsageError if it says otherwise."""
    import tomllib

    from ..storage.errors import UsageError

    if not file.exists():
        return True
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"settings {file}: {error}; correct the file, or pass --no-config") from error
    for key, value in content.items():
        if _absolute(key, str(found.get(key, "")), file) != _absolute(key, value, Path.cwd() / "x"):
            raise UsageError(
                f"settings {file}: {key} is {found.get(key)!r}, not {value!r}; edit the file, or pass --no-config"
            )
    return False


def _absolute(key: str, value: str, file: Path) -> str:
    if key == "store" and value and "://" not in value:
        return os.path.abspath(file.parent / Path(value).expanduser())
    return value


def _shown_log(store: Store) -> str | None:
    """The database that has the store's logs, without parameters."""
    from ..storage.postgres_log import without_password

    return None if store.settings.log is None else without_password(store.settings.log)


def _make(settings: StoreChoice, log_address: str | None) -> tuple[Store, bool]:
    """The store, and whether it was made now."""
    from ..storage.actor import utc_now
    from ..storage.store import Store
    from ..tracking.settings import DEFAULT_ENTITY

    created = utc_now()
    store = Store.create(
        settings.store,
        cache=settings.cache,
        entity=settings.entity or DEFAULT_ENTITY,
        created=created,
        storage_options=settings.storage_options,
        log=log_address,
    )
    return store, store.settings.created == created


def _say_made(facts: dict[str, Any], settings: StoreChoice) -> None:
    store = click.style(printable(facts["store"]), bold=True)
    say(f"made the store {store}" if facts["created"] else f"the store {store} is there already")
    say_facts(
        [
            *([("log", printable(facts["log"]))] if facts["log"] else []),
            ("project", f"{facts['entity']}/{facts['project']}"),
            ("settings", _settings_words(facts, settings)),
        ],
        indent="  ",
    )
    say()
    say("Next:")
    say_facts(
        [
            ("art put PATH -n data -t dataset", "log a file or a folder"),
            ("art ls", "see what is there"),
            ("art demo", "watch data become a promoted model, with its lineage"),
        ],
        indent="  ",
    )


def _settings_words(facts: dict[str, Any], settings: StoreChoice) -> str:
    environment = os.environ.get("LINEART_STORE")
    if facts["settings_file"]:
        words = f"{SETTINGS_FILE} " + ("written" if facts["settings_written"] else "says so already")
        return words + (f"; but LINEART_STORE={environment} goes before it" if environment else "")
    if (
        settings.store_from == "argument"
        and environment
        and _absolute("store", environment, Path.cwd() / "x")
        != _absolute("store", settings.store, Path.cwd() / "x")
    ):
        return f"nothing written; LINEART_STORE={environment} names another store: unset it, or pass --store"
    if settings.store_from == "argument" and not environment:
        return f"nothing written; pass --store {settings.store}, or set LINEART_STORE"
    return f"nothing written; the store is chosen by {chosen_by(settings)}"


@click.command()
@json_option
@common_options
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> None:
    """Show which store is in use, why, and what it holds.

    With --json: store, chosen_by, log (the database that has the logs; null: in the store), project, entity, format,
    store_id, created_at, projects, collections, versions, runs, packs, pack_bytes (both null for a store that is not a
    local folder), cache, cache_bytes.

    \b
    art status
    art --store s3://team-bucket/lineart status
    """
    settings = find_given_settings(ctx)
    workspace = open_workspace()
    store = workspace.store
    packs = pack_sizes(store) if store.backend.local_path("packs") is not None else None
    facts: dict[str, Any] = {
        "store": store.url,
        "chosen_by": chosen_by(settings),
        "log": _shown_log(store),
        "project": workspace.project_name.project,
        "entity": workspace.project_name.entity,
        "format": store.settings.format,
        "store_id": store.settings.store,
        "created_at": store.settings.created,
        **_counts(workspace),
        "packs": None if packs is None else len(packs),
        "pack_bytes": None if packs is None else sum(packs.values()),
        "cache": str(settings.cache),
        "cache_bytes": folder_bytes(settings.cache),
    }
    if as_json:
        say_json(facts)
        return
    say_facts(_status_lines(facts))
    if not facts["versions"]:
        note('nothing is logged yet: "art put PATH -n data -t dataset", or "art demo"')


def _status_lines(facts: dict[str, Any]) -> list[tuple[str, str | Cell]]:
    held = [
        counted(facts["projects"], "project"),
        counted(facts["collections"], "artifact"),
        counted(facts["versions"], "version"),
        counted(facts["runs"], "run"),
    ]
    lines: list[tuple[str, str | Cell]] = [
        ("store", Cell(printable(facts["store"]), bold=True)),
        ("chosen by", facts["chosen_by"]),
        *([("log", printable(facts["log"]))] if facts["log"] else []),
        ("project", f"{facts['entity']}/{facts['project']}"),
        ("format", f"{facts['format']}, made {when(facts['created_at'])}"),
        ("holds", ", ".join(held)),
    ]
    if facts["packs"] is not None:
        lines.append(("packs", f"{size_words(facts['pack_bytes'])} in {counted(facts['packs'], 'pack')}"))
    lines.append(("cache", f"{printable(facts['cache'])}, {size_words(facts['cache_bytes'])}"))
    return lines


def _counts(workspace: Workspace) -> dict[str, int]:
    """What lies in all projects; deleted versions do not count."""
    names = workspace.project_names()
    collections = [found for name in names for found in workspace.project(name).state().collections.values()]
    catalog = workspace.catalog(names)
    try:
        runs = catalog.rows("SELECT count(DISTINCT run_id) FROM run_events")[0][0]
    finally:
        catalog.close()
    return {
        "projects": len(names),
        "collections": len(collections),
        "versions": sum(len(found.live()) for found in collections),
        "runs": runs,
    }


def pack_sizes(store: Store) -> dict[str, int]:
    """Every pack of the store and its size in bytes."""
    found = store.backend.list("packs/")
    return {stat.key.rpartition("/")[2].removesuffix(".pack"): stat.size_bytes for stat in found}


def folder_bytes(folder: Path) -> int:
    """The sizes of all files below a folder, 0 if there is none."""
    return sum(
        (Path(current) / name).lstat().st_size for current, _, names in os.walk(folder) for name in names
    )
