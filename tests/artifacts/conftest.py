"""A local store whose packs are small, with a project in use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import builders
from builders import KIB
from collected_store import HOME
from lineart.storage.pack import PackLimits
from lineart.tracking import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    limits = PackLimits(target_bytes=200 * KIB, max_bytes=400 * KIB, max_objects=100)
    store = builders.local_store(tmp_path, limits=limits)
    found = Workspace(store, HOME)
    yield found
    found.close()
