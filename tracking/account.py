"""`login` and `setup`: no account is needed; they say whether the store can be used, and who you are to it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..storage.actor import this_actor
from .run_settings import Settings
from .settings import find_run_environment, find_settings
from .workspace import Workspace


@dataclass(frozen=True, slots=True)
class Identity:
    """Who logs, and where. True as a condition: `login` raises when the store cannot be used."""

    store: str
    entity: str
    user: str
    host: str


def login(
    key: str | None = None,
    host: str | None = None,
    relogin: bool | None = None,
    force: bool | None = None,
    anonymous: str | None = None,
    timeout: int | None = None,
    verify: bool = False,
    store: str | None = None,
) -> Identity:
    """Check that the store can be reached and written. Only `store` has a meaning; the rest is the W&B SDK's.

    Raises: NotFoundError when there is no store; CommError when it does not answer; StoreError when it refuses.
    """
    workspace = Workspace.open(find_settings(store=store), create=True)
    backend = workspace.store.backend
    probe = f"probe/{secrets.token_hex(16)}"
    backend.create(probe, b"login")
    backend.delete([probe])
    workspace.store.logs.demand_writable()
    actor = this_actor()
    return Identity(workspace.url, workspace.project_name.entity, actor["user"], actor["host"])


def setup(settings: Settings | Mapping[str, Any] | None = None) -> Settings:
    """The settings that `init` would use; loads what it needs, so that it is quick. Raises: UsageError."""
    from . import run

    assert run
    return Settings.of(settings, {**find_settings().run, **find_run_environment().settings})
