"""What a config can be made from: a dictionary, a namespace, a dataclass, absl flags, a YAML or JSON file."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..storage.errors import NotFoundError, UsageError


def config_values(given: Any) -> dict[str, Any]:
    """The keys and values of `given`.

    Raises: NotFoundError for a file that is missing; UsageError for one that holds no dictionary, or for another type.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, (str, os.PathLike)):
        return _from_file(Path(given))
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        return {f.name: getattr(given, f.name) for f in dataclasses.fields(given)}
    source: Any = given
    flags: Any = getattr(source, "flag_values_dict", None)  # absl
    if callable(flags):
        return _as_dict(flags())
    for method_name in ("model_dump", "to_dict", "as_dict"):  # pydantic, transformers, ours
        method: Any = getattr(source, method_name, None)
        if callable(method) and not isinstance(given, type):
            return _as_dict(method())
    if hasattr(source, "keys") and hasattr(source, "__getitem__"):  # OmegaConf and its like
        return {key: source[key] for key in source.keys()}  # noqa: SIM118 - it need not be iterable
    if isinstance(given, Sequence) and all(isinstance(item, Sequence) and len(item) == 2 for item in given):
        return dict(given)
    if (
        hasattr(given, "__dict__") and not isinstance(given, type) and not callable(given)
    ):  # argparse.Namespace
        return {key: value for key, value in vars(given).items() if not key.startswith("_")}
    raise UsageError(
        f"config {type(given).__name__} {str(given)[:80]!r}: expected a dictionary, namespace, dataclass or the path"
        " of a YAML or JSON file"
    )


def _as_dict(found: Any) -> dict[str, Any]:
    return dict(found)


def _from_file(path: Path) -> dict[str, Any]:
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"config file {str(path)!r} is not there; check the path") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"config file {str(path)!r}: {error}") from error
    try:
        if path.suffix == ".json":
            found = json.loads(text)
        else:
            import yaml

            found = yaml.safe_load(text)
    except ImportError as error:
        raise UsageError(f'config file {str(path)!r}: reading YAML needs "pip install pyyaml"') from error
    except ValueError as error:
        raise UsageError(f"config file {str(path)!r} is not JSON: {error}") from error
    except Exception as error:  # yaml's errors have no base class that could be named without importing it
        raise UsageError(f"config file {str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, Mapping):
        raise UsageError(
            f"config file {str(path)!r} holds a {type(found).__name__}; expected keys and values"
        )
    # The W&B SDK writes its files as {key: {"value": …, "desc": …}}.
    if found and all(
        isinstance(v, Mapping) and "value" in v and set(v) <= {"value", "desc"} for v in found.values()
    ):
        return {str(key): item["value"] for key, item in found.items()}
    return {str(key): item for key, item in found.items()}


def chosen_keys(
    values: dict[str, Any], include: Sequence[str] | None, exclude: Sequence[str] | None
) -> dict[str, Any]:
    """`values` with only the keys of `include`, or without those of `exclude`. Raises: UsageError for both at once."""
    if include and exclude:
        raise UsageError("config_include_keys and config_exclude_keys: give one of them")
    if include:
        return {key: value for key, value in values.items() if key in include}
    return {key: value for key, value in values.items() if key not in (exclude or ())}
