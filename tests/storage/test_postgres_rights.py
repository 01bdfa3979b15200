"""Users, passwords and defaults of a database that has logs."""

from __future__ import annotations

from pathlib import Path

import pytest

import builders
from lineart.storage.errors import (
    StoreError,
    UsageError,
)
from lineart.storage.log import Position
from lineart.storage.store import Store
from log_places import NOW, PostgresPlace, transaction, write
from postgres_server import STRICT, PostgresServer

# Rights and settings


def as_user(place: PostgresPlace, server: PostgresServer, user: str, *grants: str) -> PostgresPlace:
    """The same log as a user of its own with these rights."""
    server.execute(f"CREATE ROLE {user} LOGIN", url=place.url)
    for grant in grants:
        server.execute(f"GRANT {grant} TO {user}", url=place.url)
    return PostgresPlace(server.database_url(place.url.rpartition("/")[2], user=user), place.store)


def test_user_needs_more_than_select_and_insert(postgres: PostgresServer) -> None:
    place = PostgresPlace(postgres.new_database())
    user = as_user(place, postgres, "writer", "SELECT, INSERT ON lineart_log")
    user.logs.demand_writable()
    positions = write(user.log(), 3)
    assert [entry.position for entry in place.log().read_after(Position())] == positions
    for statement in ("DELETE FROM lineart_log", "UPDATE lineart_log SET seq = 9"):
        with pytest.raises(StoreError):
            user.logs.database.query(statement)


def test_user_who_may_only_read_is_told_late(postgres: PostgresServer) -> None:
    place = PostgresPlace(postgres.new_database())
    write(place.log(), 1)
    user = as_user(place, postgres, "reader", "SELECT ON lineart_log")
    assert len(list(user.log().read_after(Position()))) == 1
    for refused in (user.logs.demand_writable, lambda: user.log().append(transaction(Position()))):
        with pytest.raises(StoreError) as caught:
            refused()
        builders.one_line(caught.value, user.url)


def test_defaults_of_the_database_weaken_a_commit(postgres: PostgresServer) -> None:
    place = PostgresPlace(postgres.new_database())
    name = place.url.rpartition("/")[2]
    for setting in ("synchronous_commit = off", "default_transaction_isolation = 'serializable'"):
        postgres.execute(f'ALTER DATABASE "{name}" SET {setting}')
    fresh = PostgresPlace(place.url, place.store)
    for name, value in {"synchronous_commit": "on", "transaction_isolation": "read committed"}.items():
        assert fresh.logs.database.query(f"SHOW {name}") == [(value,)]


def test_read_only_database_is_written_to(postgres: PostgresServer) -> None:
    place = PostgresPlace(postgres.new_database())
    postgres.execute(
        f'ALTER DATABASE "{place.url.rpartition("/")[2]}" SET default_transaction_read_only = on'
    )
    fresh = PostgresPlace(place.url, place.store)
    for refused in (fresh.logs.demand_writable, lambda: fresh.log().append(transaction(Position()))):
        with pytest.raises(StoreError) as caught:
            refused()
        builders.one_line(caught.value, "read-only")


def test_password_is_found_nowhere_but_where_libpq_looks(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = PostgresPlace(postgres.new_database())
    postgres.execute(f"CREATE ROLE {STRICT} LOGIN SUPERUSER PASSWORD 'open sesame'")
    strict = PostgresPlace(postgres.database_url(place.url.rpartition("/")[2], user=STRICT), place.store)
    with pytest.raises(StoreError) as caught:
        strict.log().reaches(0)
    builders.one_line(caught.value, "PGPASSFILE", strict.url)
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:{postgres.port}:*:{STRICT}:open sesame\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    assert not strict.log().reaches(0)
    monkeypatch.delenv("PGPASSFILE")
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(StoreError) as caught:
        PostgresPlace(strict.url, place.store).log().reaches(0)
    builders.one_line(caught.value, "password")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ada:secret@db/lineart",
        "postgres://ada:@db/lineart",
        "postgresql://db/lineart?password=secret",
        "postgresql://db/lineart?user=ada&sslpassword=secret",
        "postgresql://db/lineart?pass%77ord=secret",
    ],
)
def test_password_is_written_into_a_store_or_a_message(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError) as caught:
        Store.create(str(tmp_path / "store"), cache=tmp_path, entity="team", created=NOW, log=address)
    builders.one_line(caught.value, "PGPASSFILE")
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    "address", ["", "postgresql:db", "mysql://db/x", "/var/lib", "postgresql//db", "postgresql://a\0"]
)
def test_address_that_means_nothing_is_taken(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError) as caught:
        Store.create(str(tmp_path / "store"), cache=tmp_path, entity="team", created=NOW, log=address)
    builders.one_line(caught.value, "postgresql://host/database")


def test_address_that_libpq_does_not_understand_ends_in_a_traceback(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    for address in ("postgresql://db/lineart?colour=red", "postgresql://%zz/x"):
        with pytest.raises(StoreError) as caught:
            Store.create(str(tmp_path / "store"), cache=tmp_path, entity="team", created=NOW, log=address)
        builders.one_line(caught.value, "check the address")
