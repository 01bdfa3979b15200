"""Alerts of a run: kept in its record, and sent to webhooks or, through `apprise`, to Slack, mail and the rest.

Sending happens in a thread; a target that fails costs a warning, once, and never the run. Addresses hold secrets: only
their beginnings are shown.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, StrEnum
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from ..storage.errors import UsageError

_LOG = logging.getLogger("lineart.alerts")
_TIMEOUT_S = 10.0
_RETRY_AFTER_S = (0.5, 2.0)
_HOST = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d+)?")
_QUEUE_LIMIT = 100
_TITLES_LIMIT = 10_000  # remembered for the rate limit


class AlertLevel(StrEnum):
    """How urgent an alert is. Members are texts; levels of the W&B SDK and texts in any case are taken in.

    >>> AlertLevel("warn") is AlertLevel.WARN, AlertLevel.ERROR == "ERROR"
    (True, True)
    """

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"

    @classmethod
    def _missing_(cls, value: object) -> AlertLevel | None:
        text = value.value if isinstance(value, Enum) else value
        name = text.upper() if isinstance(text, str) else None
        return next((level for level in cls if level.value == name), None)


@dataclass(slots=True)
class AlertRecord:
    """One alert that was sent. `at_s` is the clock that `send` was given; the last two grow while it is delivered."""

    title: str
    text: str
    level: AlertLevel
    at_s: float
    delivered: list[str] = field(default_factory=list)  # targets, without their secrets
    failures: dict[str, str] = field(default_factory=dict)  # reason by target

    def as_json(self) -> dict[str, Any]:
        """The record as it is now, for the log."""
        return {
            "title": self.title,
            "text": self.text,
            "level": self.level.value,
            "at_s": self.at_s,
            "delivered": list(self.delivered),
            "failures": dict(self.failures),
        }


class Alerts:
    """Sends the alerts of one run to its targets, not more often than is asked for.

    >>> alerts = Alerts([], run_path="team/digits/7f3a", run_name="calm-owl-1")
    >>> alerts.send("loss is NaN", "at step 40", AlertLevel.ERROR, 60.0, now_s=0.0).level
    <AlertLevel.ERROR: 'ERROR'>
    >>> alerts.send("loss is NaN", "at step 41", AlertLevel.ERROR, 60.0, now_s=1.0) is None
    True
    """

    def __init__(self, targets: Sequence[str], *, run_path: str, run_name: str) -> None:
        """Targets are ``http(s)://`` webhooks, or addresses of `apprise`. Raises: UsageError for what is no address."""
        for target in targets:
            if not isinstance(target, str) or "://" not in target:
                raise UsageError(
                    "alerts: a target is no address; expected https://… or one of apprise, slack://…"
                )
        self._targets = list(dict.fromkeys(targets))
        self._run = {"run_path": run_path, "run_name": run_name}
        self._sent_s: dict[str, float] = {}
        self._warned: set[str] = set()
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._queue: queue.Queue[AlertRecord | None] = queue.Queue(_QUEUE_LIMIT)
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()

    def send(
        self,
        title: str,
        text: str,
        level: AlertLevel | str = AlertLevel.INFO,
        wait_duration_s: float | timedelta | None = None,
        now_s: float | None = None,
    ) -> AlertRecord | None:
        """Send an alert, unless one of this title was sent within the last `wait_duration_s` seconds (default: 60).

        `now_s` is the time in seconds on a clock of the caller's. None when nothing was sent. Raises: UsageError.
        """
        if not isinstance(title, str) or not title.strip():
            raise UsageError(f"alert title {title!r}: expected text")
        if not isinstance(text, str):
            raise UsageError(f"alert text of type {type(text).__name__}: expected text; pass str(…)")
        try:
            urgency = AlertLevel(level)
        except ValueError:
            raise UsageError(f"alert level {level!r}: expected INFO, WARN or ERROR") from None
        wait_s = _seconds(wait_duration_s)
        at_s = time.time() if now_s is None else now_s
        if self._pid != os.getpid():  # after a fork: the thread, and perhaps the lock, stayed with the parent
            self._lock = threading.Lock()
            self._begin()
        with self._lock:
            before_s = self._sent_s.pop(title, None)
            if before_s is not None and at_s - before_s < wait_s:
                self._sent_s[title] = before_s
                return None
            self._sent_s[title] = at_s
            if len(self._sent_s) > _TITLES_LIMIT:
                del self._sent_s[next(iter(self._sent_s))]
        record = AlertRecord(title, text, urgency, at_s)
        self._deliver(record)
        return record

    def close(self, timeout_s: float = 10.0) -> None:
        """Wait until what was sent is delivered, at most `timeout_s` seconds; then nothing is tried again any more."""
        thread = self._thread
        if thread is None or self._pid != os.getpid():
            return
        deadline = time.monotonic() + timeout_s
        try:
            self._queue.put(None, timeout=timeout_s)
            thread.join(max(deadline - time.monotonic(), 0.0))
        except queue.Full:
            pass  # targets that hang: what waits is given up
        self._ending.set()
        self._thread = None

    def _deliver(self, record: AlertRecord) -> None:
        if not self._targets:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="lineart-alerts", daemon=True)
                self._thread.start()
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            for target in self._targets:
                self._fail(record, target, f"{_QUEUE_LIMIT} alerts are waiting to be sent")

    def _work(self) -> None:
        while (record := self._queue.get()) is not None:
            for target in self._targets:
                try:
                    _send_to(target, record, self._run, self._ending.wait)
                except _DeliveryError as error:
                    self._fail(record, target, str(error))
                except (
                    Exception
                ) as error:  # text of foreign errors may hold the address: only its kind is told
                    self._fail(record, target, type(error).__name__)
                else:
                    record.delivered.append(shown_target(target))

    def _fail(self, record: AlertRecord, target: str, reason: str) -> None:
        record.failures[shown_target(target)] = reason
        if target not in self._warned:
            self._warned.add(target)
            _LOG.warning("alert %r was not delivered to %s: %s", record.title, shown_target(target), reason)


class _DeliveryError(Exception):
    """Why a target did not take an alert, in words without secrets; `passing` when it may take it a little later."""

    def __init__(self, reason: str, *, passing: bool) -> None:
        super().__init__(reason)
        self.passing = passing


def shown_target(target: str) -> str:
    """An address without its secrets: the host of a webhook, the kind of any other.

    >>> shown_target("https://ada:pw@example.org:8080/hook/s3cret"), shown_target("slack://tokenA/tokenB")
    ('https://example.org:8080/…', 'slack://…')
    """
    scheme, _, rest = target.partition("://")
    if not _is_webhook(target):
        return f"{scheme[:20]}://…"
    host = rest.partition("/")[0].partition("?")[0].partition("#")[0].rpartition("@")[2]
    if not _HOST.fullmatch(host):  # half of a password, perhaps
        return f"{scheme}://…"
    return f"{scheme}://{host}/…"


def payload(record: AlertRecord, run: dict[str, str], host: str) -> dict[str, str]:
    """What a webhook is sent: title, text, level, run_path and run_name; for Slack and Discord the field they show."""
    line = f"{record.level.value}: {record.title}\n{record.text}\n{run['run_name']} ({run['run_path']})"
    if host == "hooks.slack.com":
        return {"text": line}
    if host in ("discord.com", "discordapp.com"):
        return {"content": line[:2000]}  # what Discord takes
    return {"title": record.title, "text": record.text, "level": record.level.value, **run}


def _send_to(target: str, record: AlertRecord, run: dict[str, str], wait: Callable[[float], bool]) -> None:
    """Deliver, trying again twice where that may help; `wait` returns True when there is no time for it."""
    for pause_s in (*_RETRY_AFTER_S, None):
        try:
            if _is_webhook(target):
                _post(target, record, run)
            else:
                _notify(target, record, run)
            return
        except _DeliveryError as error:
            if not error.passing or pause_s is None or wait(pause_s):
                raise


def _post(target: str, record: AlertRecord, run: dict[str, str]) -> None:
    import http.client
    import urllib.error
    import urllib.request

    parts = urlsplit(target)
    host = parts.hostname or ""
    request = urllib.request.Request(
        urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="")),
        data=json.dumps(payload(record, run, host)).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "lineart"},
        method="POST",
    )
    if parts.username is not None:
        name = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(name.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            answer.read(1024)
    except urllib.error.HTTPError as error:
        error.close()
        raise _DeliveryError(
            f"HTTP status {error.code}", passing=error.code in (408, 425, 429) or error.code >= 500
        ) from None
    except urllib.error.URLError as error:
        reason = error.reason
        raise _DeliveryError(
            reason.strerror or type(reason).__name__ if isinstance(reason, OSError) else "no connection",
            passing=True,
        ) from None
    except (OSError, http.client.HTTPException) as error:
        passing = not isinstance(error, http.client.InvalidURL)
        raise _DeliveryError(type(error).__name__, passing=passing) from None


def _notify(target: str, record: AlertRecord, run: dict[str, str]) -> None:
    try:
        import apprise
    except ImportError:
        raise _DeliveryError(
            'the package apprise is missing; pip install "lineart[alerts]"', passing=False
        ) from None
    kinds = {AlertLevel.INFO: "info", AlertLevel.WARN: "warning", AlertLevel.ERROR: "failure"}
    sender = apprise.Apprise()
    body = f"{record.text}\n{run['run_name']} ({run['run_path']})".lstrip("\n")
    title = f"{record.level.value}: {record.title}"
    hush = _OtherThreads(threading.get_ident())
    logger = logging.getLogger("apprise")
    logger.addFilter(hush)
    try:
        if not sender.add(target):
            raise _DeliveryError("apprise does not know this kind of address", passing=False)
        if not sender.notify(body=body, title=title, notify_type=kinds[record.level], body_format="text"):
            raise _DeliveryError("the service did not take it", passing=True)
    finally:
        logger.removeFilter(hush)


class _OtherThreads(logging.Filter):
    """Keeps back what apprise logs of one thread's work: whole addresses."""

    def __init__(self, thread: int) -> None:
        super().__init__()
        self._hushed = thread

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._hushed


def _is_webhook(target: str) -> bool:
    return target.lower().startswith(("http://", "https://"))


def _seconds(wait: float | timedelta | None) -> float:
    if wait is None:
        return 60.0
    seconds = wait.total_seconds() if isinstance(wait, timedelta) else wait
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise UsageError(f"alert wait_duration {wait!r}: expected seconds or a timedelta, not less than 0")
    return float(seconds)
