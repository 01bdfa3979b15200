"""Alerts of a run: delivered to the addresses in the settings, kept in the log."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import lineart
from run_reading import parts


class _Hook(http.server.BaseHTTPRequestHandler):
    taken: list[dict[str, Any]] = []  # noqa: RUF012 - shared on purpose

    def do_POST(self) -> None:
        self.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def webhook() -> Iterator[str]:
    """A server that takes in what is posted to it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    _Hook.taken.clear()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    thread.join()
    server.server_close()


def test_alert_is_delivered_once_a_minute_and_kept_in_the_log(
    webhook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINEART_ALERTS", webhook)
    with lineart.init(project="team/alerts") as run:
        for accuracy in (0.5, 0.4, 0.3):
            run.log({"accuracy": accuracy})
            if accuracy < 0.45:
                lineart.alert("low accuracy", f"it is {accuracy}", level=lineart.AlertLevel.WARN)
        run.alert("other", "at once", wait_duration=0)
    assert [(sent["title"], sent["text"], sent["level"]) for sent in _Hook.taken] == [
        ("low accuracy", "it is 0.4", "WARN"),
        ("other", "at once", "INFO"),
    ]
    kept = parts(run.path)[0].catalog().rows("SELECT title, text, level FROM alerts ORDER BY sent_at")
    assert kept == [("low accuracy", "it is 0.4", "WARN"), ("other", "at once", "INFO")]


def test_alert_without_an_address_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    with lineart.init(project="team/alerts") as run:
        run.alert("x", "y")
        with pytest.raises(lineart.UsageError, match="level 'loud'"):
            run.alert("x", "y", level="loud")
    assert parts(run.path)[0].catalog().rows("SELECT title, text FROM alerts") == [("x", "y")]
    assert caplog.records == []
