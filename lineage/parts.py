"""Parts of a run: which of its outputs were made from which of its inputs. Pure; `graph` says what that is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Use:
    """A run's use of a version."""

    version_id: str
    role: str | None
    position: int


@dataclass(frozen=True, slots=True)
class Part:
    """Some outputs of a run that have the same inputs."""

    run_id: str
    number: int
    inputs: tuple[Use, ...]
    outputs: tuple[str, ...]
    exact: bool


def parts_of(
    run_id: str,
    uses: Sequence[Use],
    productions: Sequence[tuple[str, int, bool]],
    derivations: Sequence[tuple[str, str]],
) -> list[Part]:
    """Group a run's outputs by what they were made from. Pure.

    `productions` are (version, position, exact) of the outputs that were new, `derivations` (output, input).

    >>> uses = [Use("data", None, 1), Use("test", None, 3)]
    >>> [(p.outputs, [u.version_id for u in p.inputs]) for p in parts_of("r", uses, [("model", 2, False)], [])]
    [(('model',), ['data']), ((), ['data', 'test'])]
    """
    by_version = {use.version_id: use for use in uses}
    declared: dict[str, list[str]] = {}
    for output, source in derivations:
        declared.setdefault(output, []).append(source)
    groups: dict[tuple[frozenset[str], bool], list[str]] = {}
    for output, position, exact in sorted(productions, key=lambda row: row[1]):
        if exact:
            inputs = frozenset(declared.get(output, ()))
        else:
            inputs = frozenset(use.version_id for use in uses if use.position < position)
        groups.setdefault((inputs - {output}, exact), []).append(output)
    everything = frozenset(by_version)
    if not everything <= frozenset().union(*(inputs for inputs, _ in groups)):
        groups.setdefault((everything, False), [])  # used, and nothing was logged from it: an evaluation
    return [
        Part(
            run_id,
            number,
            tuple(
                sorted(
                    (by_version.get(v) or Use(v, None, 0) for v in inputs),
                    key=lambda u: (u.position, u.version_id),
                )
            ),
            tuple(outputs),
            exact,
        )
        for number, ((inputs, exact), outputs) in enumerate(groups.items(), 1)
    ] or [Part(run_id, 1, (), (), False)]


def part_key(part: Part) -> str:
    """The node key of a part: ``run:entity/project/id``, with ``#2`` for a second part."""
    return f"run:{part.run_id}" if part.number == 1 else f"run:{part.run_id}#{part.number}"
