"""Alerts reach their targets, not too often, and a target that fails hurts nobody and learns no secrets."""

from __future__ import annotations

import base64
import enum
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lineart.storage.errors import UsageError
from lineart.tracking import alerts as alerts_module
from lineart.tracking.alerts import AlertLevel, Alerts, payload, shown_target


class Hook:
    """A real server: what it was sent, and what it answers."""

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.answers: list[int] = []  # status codes; then 200
        self.held = threading.Event()
        self.held.set()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.held.wait(30)
                hook.paths.append(self.path)
                hook.headers.append(dict(self.headers))
                hook.received.append(json.loads(body))
                self.send_response(hook.answers.pop(0) if hook.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self) -> None:
        self.held.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(alerts_module, "_RETRY_AFTER_S", (0.01, 0.01))
    made = Hook()
    yield made
    made.stop()


def alerts(*targets: str) -> Alerts:
    return Alerts(targets, run_path="team/digits/7f3a", run_name="calm-owl-1")


# Levels and the rate


class WandbLevel(enum.Enum):
    INFO = "INFO"
    WARN = "WARN"


@pytest.mark.parametrize("given", ["WARN", "warn", AlertLevel.WARN, WandbLevel.WARN])
def test_level_is_taken_in_as_others_write_it(given: Any) -> None:
    assert AlertLevel(given) is AlertLevel.WARN
    assert AlertLevel.WARN == "WARN"
    sent = alerts().send("title", "text", given, 60, now_s=0.0)
    assert sent is not None
    assert sent.as_json()["level"] == "WARN"


def test_same_title_is_not_sent_again_too_soon() -> None:
    sender = alerts()
    assert sender.send("a", "1", now_s=100.0) is not None
    assert sender.send("a", "2", now_s=159.9) is None
    assert sender.send("b", "other title", now_s=159.9) is not None
    assert sender.send("a", "3", now_s=160.0) is not None
    assert sender.send("a", "4", wait_duration_s=timedelta(seconds=5), now_s=164.0) is None
    assert sender.send("a", "5", wait_duration_s=timedelta(seconds=5), now_s=165.0) is not None
    assert sender.send("a", "6", wait_duration_s=0, now_s=165.0) is not None


def test_titles_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts_module, "_TITLES_LIMIT", 10)
    sender = alerts()
    for number in range(100):
        assert sender.send(f"step {number}", "", now_s=0.0) is not None
    assert len(sender._sent_s) == 10
    assert sender.send("step 99", "", now_s=1.0) is None


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("", "x"), "title ''"),
        ((None, "x"), "title None"),
        (("t", 3), "text of type int"),
        (("t", "x", "LOUD"), "level 'LOUD'"),
        (("t", "x", "INFO", -1), "wait_duration -1"),
        (("t", "x", "INFO", "60"), "wait_duration '60'"),
        (("t", "x", "INFO", float("nan")), "wait_duration nan"),
    ],
)
def test_wrong_arguments_are_named(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        alerts().send(*arguments)


def test_target_that_is_no_address_is_refused_without_showing_it() -> None:
    with pytest.raises(UsageError) as refused:
        alerts("my-secret-token")
    assert "my-secret-token" not in str(refused.value)


# Webhooks


def test_webhook_is_sent_the_alert_and_its_run(hook: Hook) -> None:
    sender = alerts(f"http://{hook.address}/deep/hook?x=1")
    sent = sender.send("loss is NaN", "at step 40", AlertLevel.ERROR, now_s=12.5)
    sender.close()
    assert hook.received == [
        {
            "title": "loss is NaN",
            "text": "at step 40",
            "level": "ERROR",
            "run_path": "team/digits/7f3a",
            "run_name": "calm-owl-1",
        }
    ]
    assert hook.paths == ["/deep/hook?x=1"]
    assert hook.headers[0]["Content-Type"] == "application/json"
    assert sent is not None
    assert sent.as_json() == {
        "title": "loss is NaN",
        "text": "at step 40",
        "level": "ERROR",
        "at_s": 12.5,
        "delivered": [f"http://{hook.address}/…"],
        "failures": {},
    }


def test_user_and_password_of_an_address_become_a_header(hook: Hook) -> None:
    sender = alerts(f"http://ada:p%40ss@{hook.address}/hook")
    sender.send("a", "b")
    sender.close()
    assert hook.headers[0]["Authorization"] == "Basic " + base64.b64encode(b"ada:p@ss").decode()
    assert hook.headers[0]["Host"] == hook.address


@pytest.mark.parametrize(
    "answers, attempts, arrives", [([503, 429], 3, True), ([500] * 9, 3, False), ([404], 1, False)]
)
def test_fault_that_may_pass_is_tried_three_times(
    hook: Hook, answers: list[int], attempts: int, arrives: bool, caplog: pytest.LogCaptureFixture
) -> None:
    hook.answers = list(answers)
    sender = alerts(f"http://{hook.address}/s3cret")
    sent = sender.send("a", "b")
    sender.close()
    assert len(hook.received) == attempts
    assert sent is not None
    assert bool(sent.delivered) is arrives
    if not arrives:
        assert sent.failures == {f"http://{hook.address}/…": f"HTTP status {answers[0]}"}
        assert "s3cret" not in caplog.text


def test_failure_is_told_once_without_secrets(hook: Hook, caplog: pytest.LogCaptureFixture) -> None:
    hook.answers = [404] * 3
    sender = alerts(f"http://user:s3cret@{hook.address}/t0ken")
    sent = [sender.send(f"title {number}", "b") for number in range(3)]
    with caplog.at_level(logging.WARNING):
        sender.close()
    assert len(caplog.records) == 1
    assert "'title 0' was not delivered" in caplog.text
    for record in sent:
        assert record is not None
        assert "404" in str(record.failures)
        assert "s3cret" not in str(record)
        assert "t0ken" not in str(record)
    assert "s3cret" not in caplog.text
    assert "t0ken" not in caplog.text


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:1/s3cret", "http://127.0.0.1:s3cret/", "http://[s3cret/x", "https:///s3cret"]
)
def test_address_that_nobody_answers_hurts_nobody(
    hook: Hook, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    sender = alerts(target, f"http://{hook.address}/")
    sent = sender.send("a", "b")
    sender.close()
    assert sent is not None
    assert len(sent.failures) == 1
    assert len(hook.received) == 1
    assert "s3cret" not in caplog.text + str(sent.failures.values())


def test_slow_target_delays_nobody_and_its_queue_is_bounded(
    hook: Hook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alerts_module, "_QUEUE_LIMIT", 5)
    hook.held.clear()
    sender = alerts(f"http://{hook.address}/")
    begun = time.monotonic()
    sent = [sender.send(f"title {number}", "b") for number in range(20)]
    assert time.monotonic() - begun < 5
    refused = [record for record in sent if record is not None and record.failures]
    assert 13 <= len(refused) <= 15
    sender.close(timeout_s=0.1)
    assert time.monotonic() - begun < 10
    hook.held.set()


def test_sender_that_was_closed_sends_again(hook: Hook) -> None:
    sender = alerts(f"http://{hook.address}/")
    for number in range(2):
        sender.send(f"title {number}", "b")
        sender.close()
    sender.close()
    assert len(hook.received) == 2


def test_services_get_the_field_that_they_show() -> None:
    record = alerts().send("title", "text " * 1000, "WARN", now_s=0.0)
    assert record is not None
    run = {"run_path": "a/b/c", "run_name": "calm-owl-1"}
    assert payload(record, run, "hooks.slack.com")["text"].startswith("WARN: title\ntext text")
    assert payload(record, run, "hooks.slack.com")["text"].endswith("\ncalm-owl-1 (a/b/c)")
    assert len(payload(record, run, "discord.com")["content"]) == 2000


@pytest.mark.parametrize(
    "target, shown",
    [
        ("https://example.org/hook", "https://example.org/…"),
        ("https://ada:pw@example.org:81/hook", "https://example.org:81/…"),
        ("https://ada:p/w@example.org", "https://…"),
        ("https://example.org?token=x", "https://example.org/…"),
        ("tgram://123:token/chat", "tgram://…"),
    ],
)
def test_address_is_shown_by_its_beginning(target: str, shown: str) -> None:
    assert shown_target(target) == shown


# apprise

# It loads a module that Python 3.11 calls deprecated, with its own replacement for later versions.
OF_APPRISE = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@OF_APPRISE
def test_apprise_delivers_to_its_services(hook: Hook) -> None:
    sender = alerts(f"json://{hook.address}/hook")
    sent = sender.send("loss is NaN", "at step 40", "ERROR")
    sender.close(timeout_s=30)
    assert sent is not None
    assert sent.delivered == ["json://…"]
    assert hook.received[0]["title"] == "ERROR: loss is NaN"
    assert hook.received[0]["message"] == "at step 40\ncalm-owl-1 (team/digits/7f3a)"
    assert hook.received[0]["type"] == "failure"


@OF_APPRISE
def test_service_that_refuses_is_told_without_its_address(
    hook: Hook, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    hook.answers = [500] * 3
    sender = alerts(f"json://user:s3cret@{hook.address}/t0ken", "nosuchservice://s3cret")
    sent = sender.send("a", "b")
    sender.close(timeout_s=30)
    assert sent is not None
    assert sent.failures == {
        "json://…": "the service did not take it",
        "nosuchservice://…": "apprise does not know this kind of address",
    }
    said = caplog.text + "".join(capfd.readouterr())
    assert "s3cret" not in said
    assert "t0ken" not in said


def test_missing_apprise_names_what_to_install(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    sender = alerts("slack://a/b/c", f"http://{hook.address}/")
    sent = sender.send("a", "b")
    sender.close()
    assert sent is not None
    assert 'pip install "lineart[alerts]"' in sent.failures["slack://…"]
    assert len(sent.delivered) == 1


# Processes

FORKED = """
import os, sys
from lineart.tracking.alerts import Alerts
sender = Alerts([sys.argv[1]], run_path="a/b/c", run_name="calm-owl-1")
sender.send("parent", "")
if (child := os.fork()) == 0:
    sender.send("child", "")
    sender.close()
    os._exit(0)
os.waitpid(child, 0)
sender.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_child_of_a_fork_sends_its_own(hook: Hook) -> None:
    command = [sys.executable, "-c", FORKED, f"http://{hook.address}/"]
    subprocess.run(command, timeout=60, check=True)
    assert sorted(alert["title"] for alert in hook.received) == ["child", "parent"]


def test_nothing_is_started_without_targets() -> None:
    count = threading.active_count()
    sender = alerts()
    sender.send("a", "b")
    assert threading.active_count() == count
    sender.close()
