"""Who commits, and when: what transactions say for people."""

from __future__ import annotations

import datetime
import getpass
import os
import socket
import time


def utc_now() -> str:
    """The time of now as the log writes it: RFC 3339, UTC, microseconds."""
    return log_time(time.time())


def log_time(seconds: float) -> str:
    """A time in seconds since the epoch as the log writes it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def this_actor() -> dict[str, str]:
    """Who commits: user and host of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry for its user
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return {"user": user, "host": socket.gethostname()}
