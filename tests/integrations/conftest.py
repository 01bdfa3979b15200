"""Libraries that read the environment when they are imported."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("KERAS_HOME", str(Path(tempfile.gettempdir()) / "lineart-tests-keras"))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
