"""`Settings`: what a run records by itself, and what it shows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from ..storage.errors import UsageError

Console = Literal["auto", "off", "wrap"]

# Names of the W&B SDK → ours; True where theirs switches off what ours switches on.
_ELSEWHERE: Mapping[str, tuple[str, bool]] = {
    "disable_git": ("git", True),
    "disable_code": ("save_code", True),
    "x_disable_stats": ("system", True),
    "_disable_stats": ("system", True),
    "x_disable_meta": ("host", True),
    "_disable_meta": ("host", True),
    "x_save_requirements": ("packages", False),
    "x_stats_sampling_interval": ("system_interval_s", False),
    "_stats_sample_rate_seconds": ("system_interval_s", False),
}


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Settings:
    """What a run records by itself; each part can be switched off.

    `system_interval_s` is the time in seconds between two measurements of the machine. `observe` are data roots,
    folders or URL prefixes: what is read below them without `use_artifact` is recorded as untracked input. Names that
    only the W&B SDK has are taken in: those with a counterpart here set it, others are kept in `unused`.

    >>> Settings(git=False, x_disable_stats=True, start_method="fork")
    Settings(git=False, system=False)
    """

    git: bool = True
    packages: bool = True
    console: Console = "auto"
    system: bool = True
    system_interval_s: float = 15.0
    host: bool = True
    environment: bool = True
    save_code: bool = True
    observe: tuple[str, ...] = ()
    silent: bool = False
    unused: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __init__(self, **given: Any) -> None:
        """Raises: UsageError for a value that its setting does not take."""
        values = {f.name: f.default for f in fields(type(self)) if f.name != "unused"}
        unused: dict[str, Any] = {}
        for name, value in given.items():
            key, inverted = _ELSEWHERE.get(name, (name, False))
            if key in values:
                values[key] = not value if inverted else value
            else:
                unused[name] = value
        if isinstance(values["console"], bool):
            values["console"] = "auto" if values["console"] else "off"
        elif values["console"] in ("redirect", "wrap_raw", "wrap_emu"):
            values["console"] = "wrap"
        if values["console"] not in get_args(Console):
            raise UsageError(f"setting console {values['console']!r}: expected 'auto', 'off' or 'wrap'")
        interval = values["system_interval_s"]
        if isinstance(interval, bool) or not isinstance(interval, (int, float)) or not interval > 0:
            raise UsageError(f"setting system_interval_s {interval!r}: expected seconds, more than 0")
        values["observe"] = _roots(values["observe"])
        for name, value in values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "unused", unused)

    def __repr__(self) -> str:
        shown = [
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if f.name != "unused" and getattr(self, f.name) != f.default
        ]
        return f"Settings({', '.join(shown)})"

    @classmethod
    def of(cls, given: Settings | Mapping[str, Any] | None, defaults: Mapping[str, Any]) -> Settings:
        """`given` over `defaults`. Raises: UsageError when it is neither settings nor a dictionary."""
        if isinstance(given, Settings):
            chosen = {f.name: getattr(given, f.name) for f in fields(given) if f.name != "unused"}
            plain = cls()
            return cls(**{**defaults, **{k: v for k, v in chosen.items() if v != getattr(plain, k)}})
        if given is not None and not isinstance(given, Mapping):
            raise UsageError(f"settings {given!r}: expected lineart.Settings(…) or a dictionary")
        return cls(**{**defaults, **(given or {})})


def _roots(given: Any) -> tuple[str, ...]:
    """Raises: UsageError."""
    roots = [given] if isinstance(given, str | os.PathLike) else given
    if not isinstance(roots, list | tuple) or not all(isinstance(r, str | os.PathLike) for r in roots):
        raise UsageError(f"setting observe {given!r}: expected a list of folders or URLs such as ['data/']")
    found = tuple(os.fspath(root) for root in roots)
    if not all(isinstance(root, str) and root.strip() for root in found):
        raise UsageError(f"setting observe {given!r}: a folder has no name; write '.' for the current one")
    return found


def data_roots(settings: Settings) -> tuple[str, ...]:
    """Those of `settings`, as another process has to say them: its working folder may be another."""
    return tuple(root if "://" in root else os.path.abspath(root) for root in settings.observe)
