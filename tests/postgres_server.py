"""A real PostgreSQL on 127.0.0.1, with a data folder of its own, for tests of any folder and for the benchmark.

The binaries are those of Debian's package `postgresql` (or of any other that puts `initdb` on PATH). The server refuses
to run as root, so root starts it as the user that the package has made, else as `nobody`. A shell stands between: when
the process that asked for the server is gone, however it went, its end of a pipe closes, and the shell stops the server
and removes the folder.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HANG_S = 60.0
STRICT = "strict"  # the one user that needs a password; who wants it makes it
_names = itertools.count()

# $1 is postgres, $2 the folder, $3 the port. The first line on standard input asks for an end; so does its end.
_KEEPER = """
"$1" -D "$2/data" -p "$3" >>"$2/log" 2>&1 &
server=$!
read -r how
kill -"${how:-QUIT}" "$server" 2>/dev/null
wait "$server"
[ -n "$how" ] || rm -rf "$2"
"""


class NoPostgres(Exception):
    """There is no PostgreSQL on this machine, and why."""


def binaries() -> Path:
    """The folder of `initdb` and `postgres`. Raises: NoPostgres."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            return place
    raise NoPostgres("PostgreSQL is not installed: apt-get install postgresql")


class PostgresServer:
    """A server that can be stopped, killed and started again; its data stay until `close`."""

    def __init__(self, parent: Path | None = None) -> None:
        """Its folder is made in `parent`, by default where temporary files go: its user may not go through pytest's."""
        self.place = binaries()
        self._user = _server_user()
        self.folder = Path(tempfile.mkdtemp(prefix="lineart-postgres-", dir=parent))
        self.port = _free_port()
        self._keeper: subprocess.Popen[Any] | None = None
        try:
            self._make()
            self._start_somewhere()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The address of the database `postgres`; the server trusts everybody on this machine but `STRICT`."""
        return self.database_url("postgres")

    def database_url(self, name: str, *, user: str = "lineart", port: int | None = None) -> str:
        """The address of a database, by way of another port if there is something in between."""
        return f"postgresql://{user}@127.0.0.1:{port or self.port}/{name}"

    def new_database(self) -> str:
        """Make an empty database and return its address."""
        name = f"test_{next(_names)}"
        self.execute(f'CREATE DATABASE "{name}"')
        return self.database_url(name)

    def execute(
        self, statement: str, parameters: Any = None, url: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows."""
        import psycopg

        with psycopg.connect(url or self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def _start_somewhere(self) -> None:
        for attempt in range(3):
            try:
                return self.start()
            except RuntimeError:  # another process may have taken the port meanwhile
                if attempt == 2:
                    raise
                self.stop()
                self.port = _free_port()

    def start(self) -> None:
        """Start the server and wait until it answers. Raises: RuntimeError with what it has written."""
        keeper = self._keeper = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                _KEEPER,
                "keeper",
                str(self.place / "postgres"),
                str(self.folder),
                str(self.port),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt at the terminal is for the tests
            cwd="/",
            **self._user,
        )
        give_up_s = time.monotonic() + HANG_S
        while not self._answers():
            if keeper.poll() is not None or time.monotonic() > give_up_s:
                log = self.folder / "log"
                written = log.read_text(errors="replace")[-2000:] if log.exists() else ""
                raise RuntimeError(f"PostgreSQL did not start: {written}")
            time.sleep(0.02)

    def stop(self, signal_name: str = "INT") -> None:
        """End the server: INT closes connections and writes all, QUIT is a crash."""
        if self._keeper is None or self._keeper.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):
            self._keeper.stdin.write(signal_name.encode() + b"\n")
            self._keeper.stdin.flush()
        self._keeper.stdin.close()
        self._keeper.wait(HANG_S)
        self._keeper = None

    def close(self) -> None:
        """End the server and remove all it has written."""
        self.stop("QUIT")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make(self) -> None:
        if user := self._user.get("user"):
            shutil.chown(self.folder, user)
        (self.folder / "socket").mkdir(mode=0o700)
        if user:
            shutil.chown(self.folder / "socket", user)
        options = ["--username=lineart", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        done = subprocess.run(
            [str(self.place / "initdb"), f"--pgdata={self.folder / 'data'}", *options],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **self._user,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.strip()[-2000:]}")
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder / "socket",
            "max_connections": 100,
            "shared_buffers": "32MB",
        }
        data = self.folder / "data"
        with (data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        trust = (data / "pg_hba.conf").read_text()
        (data / "pg_hba.conf").write_text(f"host all {STRICT} 127.0.0.1/32 scram-sha-256\n{trust}")

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


def _server_user() -> dict[str, Any]:
    """Whom `subprocess` is to start the server as."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise NoPostgres("PostgreSQL does not run as root, and there is no user postgres or nobody")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def postgres_or_skip() -> Iterator[PostgresServer]:
    """A server for a while; where there can be none, the test is skipped and says why."""
    import pytest

    pytest.importorskip("psycopg", reason='psycopg is not installed: pip install "psycopg[binary]"')
    try:
        server = PostgresServer()
    except NoPostgres as error:
        pytest.skip(str(error))
    try:
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def postgres(parent: Path | None = None) -> Iterator[PostgresServer]:
    """A server for a while. Raises: NoPostgres."""
    server = PostgresServer(parent)
    try:
        yield server
    finally:
        server.close()
