"""Real S3-speaking servers on 127.0.0.1, well-behaved and not, for tests of any folder.

A test folder's `conftest.py` puts this folder on `sys.path` and makes fixtures of `moto` and `new_bucket`; see
`tests/storage/conftest.py`. Credentials go through `storage_options`, the environment is left alone.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import secrets
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import botocore.session
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

Application: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Middleware: TypeAlias = Callable[[Application], Application]

_names = itertools.count()


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where a server listens, and how to speak to it."""

    endpoint: str

    @property
    def storage_options(self) -> dict[str, Any]:
        """Fresh options for s3fs, which a test may change."""
        return {
            "key": "testing",
            "secret": "testing",
            "client_kwargs": {"region_name": "us-east-1", "endpoint_url": self.endpoint},
        }

    @property
    def environment(self) -> dict[str, str]:
        """What lets a process, and the children that it starts, speak to it."""
        return {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def client(self) -> Any:
        """A plain client, to look at what is really there."""
        return botocore.session.get_session().create_client(
            "s3",
            region_name="us-east-1",
            endpoint_url=self.endpoint,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


class Line:
    """What lies between clients and a server, a middleware: as told, it fails, loses answers, or holds up packs."""

    def __init__(self) -> None:
        self.packs_pass = threading.Event()  # uploads of packs wait while it is not set
        self.mend()

    def mend(self, seed: int = 0) -> None:
        """Be a good line again; what it loses later is drawn from `seed`."""
        self.is_down = False
        self.lost = 0.0  # share of requests that are done, and said to have failed
        self.failed = 0.0  # share of requests that fail before anything is done
        self.packs_pass.set()
        self._chance = random.Random(seed)

    def __call__(self, application: Application) -> Application:
        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if environ["REQUEST_METHOD"] == "PUT" and "/packs/" in environ["PATH_INFO"]:
                self.packs_pass.wait(60)
            drawn = self._chance.random()
            if not self.is_down and drawn >= self.lost + self.failed:
                return application(environ, start_response)
            if not self.is_down and drawn < self.lost:
                list(application(environ, lambda *_: lambda _: None))
            else:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status = "503 Slow Down" if self.is_down else "500 Internal Error"
            start_response(status, [("Content-Length", "0")])
            return [b""]

        return serve


def use(server: S3Server, monkeypatch: pytest.MonkeyPatch, path: str = "store", **more: str) -> str:
    """Let the environment name `path` in a new bucket as the store, and have the keys to it; the store's address.

    `more` are variables, too.
    """
    url = f"{new_bucket(server)}/{path}"
    for name, value in {"LINEART_STORE": url, **server.environment, **more}.items():
        monkeypatch.setenv(name, value)
    return url


def new_bucket(server: S3Server) -> str:
    """Make an empty bucket and return its address, ``s3://<bucket>``."""
    bucket = f"bucket-{os.getpid()}-{next(_names)}-{secrets.token_hex(4)}"
    client = server.client()
    client.create_bucket(Bucket=bucket)
    client.close()
    return f"s3://{bucket}"


@contextlib.contextmanager
def moto(*middlewares: Middleware) -> Iterator[S3Server]:
    """Run moto's server in a thread; the first middleware sees a request last."""
    # Its own conditional create checks and then writes; two requests at once would both win.
    application: Application = one_conditional_write_at_a_time(
        DomainDispatcherApplication(create_backend_app)
    )
    for middleware in middlewares:
        application = middleware(application)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line per request would bury a failure
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True, name="moto")
    thread.start()
    try:
        yield S3Server(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(WSGIRequestHandler):
    """Keeps connections open, as real services do: clients that reuse them meet what they would there."""

    protocol_version = "HTTP/1.1"


def one_conditional_write_at_a_time(application: Application) -> Application:
    """Let conditional writes through one by one."""
    lock = threading.Lock()

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not is_conditional_write(environ):
            return application(environ, start_response)
        with lock:
            return list(application(environ, start_response))

    return serve


def ignores_condition(application: Application) -> Application:
    """A service that does not know ``If-None-Match`` and says nothing."""

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ.pop("HTTP_IF_NONE_MATCH", None)
        return application(environ, start_response)

    return serve


def answers_first(
    status: int, code: str, *, times: int, matches: Callable[[dict[str, Any]], bool]
) -> Middleware:
    """A service that answers with an error, `times` times per path, and then as it should."""
    counts: dict[str, int] = {}
    lock = threading.Lock()

    def middleware(application: Application) -> Application:
        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if not matches(environ):
                return application(environ, start_response)
            with lock:
                count = counts[environ["PATH_INFO"]] = counts.get(environ["PATH_INFO"], 0) + 1
            if count > times:
                return application(environ, start_response)
            # Unread, the body would be taken for the next request on this connection.
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            return _error(environ, start_response, status, code)

        return serve

    return middleware


def loses_first_answer(application: Application) -> Application:
    """A service that creates, and then answers 500 to the first conditional write of each path."""
    seen: set[str] = set()

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not is_conditional_write(environ) or environ["PATH_INFO"] in seen:
            return application(environ, start_response)
        seen.add(environ["PATH_INFO"])
        list(application(environ, lambda *_: lambda _: None))
        return _error(environ, start_response, 500, "InternalError")

    return serve


def is_conditional_write(environ: dict[str, Any]) -> bool:
    return environ["REQUEST_METHOD"] == "PUT" and "HTTP_IF_NONE_MATCH" in environ


def _error(
    environ: dict[str, Any], start_response: Callable[..., Any], status: int, code: str
) -> Iterable[bytes]:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>by order of the test</Message></Error>'
    if environ["REQUEST_METHOD"] == "HEAD":
        body = ""
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    start_response(f"{status} {code}", headers)
    return [body.encode()]


@contextlib.contextmanager
def ministack(executable: str) -> Iterator[S3Server]:
    """Run MiniStack, a second implementation of S3, as a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": "s3",
        "LOG_LEVEL": "ERROR",
    }
    process = subprocess.Popen(
        [executable], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        endpoint = f"http://127.0.0.1:{port}"
        _wait_until_it_answers(endpoint, process)
        yield S3Server(endpoint)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_answers(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    give_up_s = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{endpoint}/_ministack/health", timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > give_up_s:
                raise
        time.sleep(0.1)
