"""The facts that a policy may ask for, and in which forms. `docs/policies.md` has its table from here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..artifacts.names import nearest
from ..storage.errors import UsageError
from .expressions import Comparison, Constant, Fact, Items, Node, Step, facts_in


@dataclass(frozen=True, slots=True)
class Word:
    """A form of fact for people: how it is written, what kind of value it gives, what it means."""

    form: str
    gives: str
    meaning: str


WORDS: Sequence[Word] = (
    Word("run.METRIC", "number", "the summary's value of a metric, of the run that made the version"),
    Word('run["METRIC"]', "number", "the same, for a metric whose name is not a word: `val/accuracy`"),
    Word("run.state, run.user, run.name, run.job_type", "text", "about that run; `run.state` is `finished` at best"),
    Word("config.KEY", "number, text, true or false", "a value of that run's config"),
    Word(
        'eval("DATASET").METRIC',
        "number",
        "the same of the newest finished run that used both the version and that dataset, by content, and evaluated"
        " no other model; a name without a project is of the version's own",
    ),
    Word("incumbent.exists", "true or false", "whether the alias points to a version now"),
    Word(
        "incumbent.run.METRIC, incumbent.config.KEY, incumbent.eval(…).METRIC, incumbent.version.…",
        "as without it",
        "the same of the version that the alias points to; a comparison with it holds while there is none",
    ),
    Word('age(run), age(version), age(eval("DATASET"))', "seconds", "since the run ended, or the version was made"),
    Word("version.size, version.files, version.references", "number", "bytes, files, references to places outside"),
    Word("version.type, version.description", "text", "what it is, what is said of it"),
    Word("version.tags, version.aliases", "list", "`\"reviewed\" in version.tags`"),
    Word("version.metadata.KEY", "number, text, true or false", "a value of its metadata"),
    Word("files", "number", "how many files it has"),
    Word('files("*.onnx")', "number", "how many of its paths match the pattern, as `*.onnx` or `weights/*`"),
    Word("files.types", "list", 'the suffixes that occur: `files.types in [".json", ".safetensors"]`'),
    Word("files.pickles", "number", "files that are pickles or hold one, by name, first bytes or members"),
    Word("lineage.inputs", "number", "versions that it was made from directly"),
    Word("lineage.upstream", "number", "versions that it was made from, directly or not"),
    Word("lineage.untracked", "number", "files that runs upstream read and no version has (observed inputs)"),
    Word("lineage.unobserved", "number", "runs upstream of which nobody has observed what they read"),
    Word("lineage.missing", "number", "versions upstream that are not in this store"),
    Word("lineage.deleted", "number", "versions upstream that were deleted"),
    Word("lineage.changed", "number", "references upstream whose place holds something else now; asks those places"),
    Word('lineage.tagged("TAG")', "number", "versions upstream, itself included, that have the tag"),
    Word("git.clean", "true or false", "the run's code was committed: no tracked file changed, no code untracked"),
    Word("git.commit, git.branch, git.remote", "text", "of the code"),
    Word(
        "reproducible",
        "true or false",
        "code committed, command and packages recorded, every input tracked: `art reproduce` has what it needs",
    ),
    Word("approvals", "number", "people who approve, the version's author left out; each once"),
    Word('approvals.by("ada", "ben")', "number", "how many of those named approve"),
    Word('signatures, signatures.by("release")', "number", "trusted keys (of these names) that signed the version"),
)  # fmt: skip

_FREE = ("run", "config")  # any name may follow
_SUBJECT = ("run", "config", "version", "git", "files", "eval")
_NEXT = {
    "version": ("size", "files", "references", "type", "description", "tags", "aliases", "metadata"),
    "git": ("clean", "commit", "branch", "remote"),
    "lineage": ("inputs", "upstream", "untracked", "unobserved", "missing", "deleted", "changed", "tagged"),
    "files": ("types", "pickles"),
    "approvals": ("by",),
    "signatures": ("by",),
    "incumbent": ("exists", *_SUBJECT),
}
ROOTS = (*_SUBJECT, "incumbent", "age", "lineage", "reproducible", "approvals", "signatures")
_MANY = 1000
# Path → least and most arguments of a call.
_CALLS = {
    ("eval",): (1, 1),
    ("age",): (1, 1),
    ("files",): (1, _MANY),
    ("lineage", "tagged"): (1, 1),
    ("approvals", "by"): (1, _MANY),
    ("signatures", "by"): (1, _MANY),
}
_MUST_CALL = {("eval",), ("age",), ("lineage", "tagged"), ("approvals", "by"), ("signatures", "by")}


def check(tree: Node) -> None:
    """Raises: UsageError for a fact that is not in the vocabulary, with the nearest one."""
    for fact in facts_in(tree):
        _check(fact, fact.steps, fact.steps, ROOTS, within_age=False)


def _check(
    fact: Fact, steps: Sequence[Step], rest: Sequence[Step], known: Sequence[str], *, within_age: bool
) -> None:
    root = rest[0]
    if root.name not in known:
        raise UsageError(f"policy: there is no fact {fact.text!r}{nearest(root.name, known)}")
    if root.name == "incumbent":
        if len(rest) == 1 or root.arguments is not None:
            raise UsageError(
                f"policy: {fact.text!r}: expected incumbent.{', incumbent.'.join(_NEXT['incumbent'])}"
            )
        if rest[1].name == "exists":
            _demand_end(fact, rest[1:], 1)
        else:
            _check(fact, steps, rest[1:], _SUBJECT, within_age=within_age)
        return
    for depth in range(len(rest)):
        _check_call(fact, tuple(step.name for step in rest[: depth + 1]), rest[depth])
    if root.name == "age":
        _demand_end(fact, rest, 1)
        argument = root.arguments[0] if root.arguments else None
        if not isinstance(argument, Fact) or _thing(argument) not in ("run", "version", "eval"):
            raise UsageError(
                f'policy: {fact.text!r}: expected age(run), age(version) or age(eval("DATASET"))'
            )
    elif root.name in _NEXT and len(rest) > 1:
        if rest[1].name not in _NEXT[root.name]:
            raise UsageError(
                f"policy: there is no fact {fact.text!r}{nearest(rest[1].name, _NEXT[root.name])}"
            )
        if rest[1].name != "metadata":
            _demand_end(fact, rest, 2)
    elif root.name in ("git", "lineage"):
        raise UsageError(
            f"policy: {fact.text!r}: expected {root.name}.{f', {root.name}.'.join(_NEXT[root.name])}"
        )
    elif root.name == "reproducible":
        _demand_end(fact, rest, 1)


def _thing(fact: Fact) -> str | None:
    """What `age` is asked of."""
    steps = fact.steps[1:] if fact.steps[0].name == "incumbent" else fact.steps
    return steps[0].name if len(steps) == 1 else None


def _check_call(fact: Fact, path: tuple[str, ...], step: Step) -> None:
    if step.arguments is None:
        if path in _MUST_CALL:
            raise UsageError(f"policy: {fact.text!r}: {'.'.join(path)} needs something in brackets")
        return
    allowed = _CALLS.get(path)
    if allowed is None:
        raise UsageError(f"policy: {fact.text!r}: {'.'.join(path)} is no function")
    least, most = allowed
    for argument in step.arguments:
        is_other = isinstance(argument, Constant) and not isinstance(argument.value, str)
        if path != ("age",) and (is_other or isinstance(argument, (Items, Comparison))):
            raise UsageError(
                f"policy: {fact.text!r}: expected texts in the brackets of {'.'.join(path)}, as"
                f' {".".join(path)}("a")'
            )
    if not least <= len(step.arguments) <= most:
        wanted = "one" if most == 1 else "one or more"
        raise UsageError(f"policy: {fact.text!r}: {'.'.join(path)} takes {wanted}, not {len(step.arguments)}")


def _demand_end(fact: Fact, rest: Sequence[Step], count: int) -> None:
    if len(rest) > count:
        raise UsageError(
            f"policy: {fact.text!r}: nothing can follow {'.'.join(step.name for step in rest[:count])}"
        )
