"""What the name of a type says: anybody may call types as they like. Pure."""

from __future__ import annotations

_MODELS = frozenset({"model", "checkpoint", "weights", "adapter", "tokenizer"})
_DATA = frozenset({"dataset", "data", "corpus", "table"})


def is_model(type_name: str) -> bool:
    """Whether a type's name says that it is a model.

    >>> is_model("model"), is_model("reward-model"), is_model("dataset"), is_model("remodelled")
    (True, True, False, False)
    """
    return bool(_MODELS & _words(type_name))


def is_dataset(type_name: str) -> bool:
    """Whether a type's name says that it is data.

    >>> is_dataset("raw_dataset"), is_dataset("result")
    (True, False)
    """
    return bool(_DATA & _words(type_name))


def is_table(type_name: str) -> bool:
    """Whether a type's name says that it is a table, which may be a result as well as data.

    >>> is_table("run_table"), is_table("dataset")
    (True, False)
    """
    return "table" in _words(type_name)


def is_tokenizer(type_name: str) -> bool:
    """Whether a type's name says that it is a tokenizer, which is part of a model.

    >>> is_tokenizer("tokenizer"), is_tokenizer("model")
    (True, False)
    """
    return "tokenizer" in _words(type_name)


def _words(type_name: str) -> set[str]:
    return set(type_name.lower().replace("-", " ").replace("_", " ").replace(".", " ").split())
