"""`Runs`: what `Api.runs` finds, read when it is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from ..artifacts.names import ProjectName
from .api_run import ApiRun
from .run_filters import Node
from .run_order import SortKey
from .run_query import RunList, RunReader


class Runs(Sequence[ApiRun]):
    """The runs of a project that a filter finds, in order; a sequence that asks the store at first need, once.

    >>> import lineart
    >>> for depth in (2, 3, 4):
    ...     with lineart.init(project="docs", name=f"depth-{depth}", config={"depth": depth}) as run:
    ...         run.log({"loss": 1 / depth})
    >>> runs = lineart.Api().runs("docs", {"config.depth": {"$gt": 2}}, order="+summary_metrics.loss")
    >>> len(runs), [run.name for run in runs], runs[-1].summary["loss"]
    (2, ['depth-4', 'depth-3'], 0.3333333333333333)
    """

    def __init__(
        self, reader: RunReader, project: ProjectName, node: Node, order: tuple[SortKey, ...], per_page: int
    ) -> None:
        self._reader = reader
        self._project = project
        self._node = node
        self._order = order
        self.per_page = per_page
        self._found: RunList | None = None
        self._made: dict[int, ApiRun] = {}

    @property
    def entity(self) -> str:
        """The entity's name."""
        return self._project.entity

    @property
    def project(self) -> str:
        """The project's name."""
        return self._project.project

    @property
    def objects(self) -> list[ApiRun]:
        """All of them."""
        return list(self)

    def __len__(self) -> int:
        return len(self._list())

    def __bool__(self) -> bool:
        return len(self) > 0

    @overload
    def __getitem__(self, index: int) -> ApiRun: ...
    @overload
    def __getitem__(self, index: slice) -> list[ApiRun]: ...
    def __getitem__(self, index: int | slice) -> ApiRun | list[ApiRun]:
        if isinstance(index, slice):
            return [self._run(at) for at in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"run {index} of {len(self)}")
        return self._run(at)

    def __iter__(self) -> Iterator[ApiRun]:
        return (self._run(at) for at in range(len(self)))

    def _list(self) -> RunList:
        if self._found is None:
            self._found = self._reader.find(self._project, self._node, self._order, self.per_page)
        return self._found

    def _run(self, at: int) -> ApiRun:
        if at not in self._made:
            self._made[at] = ApiRun(self._reader, self._list().record(at))
        return self._made[at]

    def __repr__(self) -> str:
        return f"<Runs {self._project}>"
