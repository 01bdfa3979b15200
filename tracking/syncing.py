"""`art sync`: what waits in the outbox of a remote store is sent, exactly once.

Bytes first, then the transactions in their order, each with the id that it has in the outbox: one that is found in the
store's log has been sent before. A send that is killed goes on where it was; the outbox is removed at its end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..artifacts.compaction import stored_anew
from ..artifacts.marking import holder_of
from ..artifacts.names import ProjectName
from ..artifacts.packs import PLACES, read_pack_list
from ..artifacts.rebase import SENT_AS, Renumbering, learn, rebase
from ..storage.copying import salted_copy
from ..storage.digest import digest_of
from ..storage.errors import CommError, ConflictError, Error, NotFoundError, StoreError
from ..storage.flock import lock, open_lock
from ..storage.lanes import linked_copy
from ..storage.overlay import Outbox
from ..storage.store import Store, project_prefix
from ..storage.transaction import Op, Transaction
from .outbox_part import OutboxPart
from .run_log import claim_run
from .workspace import Workspace

_UPLOADS = 8


@dataclass(slots=True)
class Sent:
    """What a sync did: transactions, versions and runs that are in the store now, bytes uploaded."""

    transactions: int = 0
    versions: list[str] = field(default_factory=list)  # full names
    runs: list[str] = field(default_factory=list)
    uploaded_bytes: int = 0
    is_busy: bool = False  # a process is still writing to the outbox: its work is sent when it has ended


def outbox_of(workspace: Workspace) -> Outbox:
    """The outbox of the workspace's store on this machine."""
    return Outbox.of(workspace.url, workspace.data)


def sync(workspace: Workspace, progress: Callable[[int], None] = lambda size: None) -> Sent:
    """Send all that waits. `workspace` is online. Safe to repeat, and from several processes at once.

    Raises: CommError, StoreError, UsageError; what was not sent stays in the outbox.
    """
    sent, outbox = Sent(), outbox_of(workspace)
    if not workspace.store.is_remote or not outbox.folder.is_dir():
        return sent
    with _only_one(outbox):
        with outbox.alone() as is_alone:
            if is_alone and any(outbox.current.rglob("*.json")):
                outbox.sending.mkdir(parents=True, exist_ok=True)
                outbox.current.rename(outbox.sending / f"{time.time_ns():020}-{secrets.token_hex(4)}")
            sent.is_busy = not is_alone
        _adopt_journals(workspace)
        for part in outbox.parts():
            Sender(workspace, part, sent, progress).send()
            shutil.rmtree(part)
        _send_lanes(workspace, outbox, sent, progress)
    return sent


def _send_lanes(workspace: Workspace, outbox: Outbox, sent: Sent, progress: Callable[[int], None]) -> None:
    """Those of processes that are gone; one that cannot be sent keeps none of the others. Raises: the first problem."""
    problems: list[Error] = []
    for lane in outbox.lanes():
        with lane.alone() as is_alone:
            if not is_alone:
                sent.is_busy = True
                continue
            try:
                if lane.has_work():
                    Sender(workspace, lane.current, sent, progress).send()
                lane.remove()
            except CommError:
                raise
            except Error as error:
                problems.append(error)
    if problems:
        raise problems[0]


@contextlib.contextmanager
def _only_one(outbox: Outbox) -> Iterator[None]:
    descriptor = open_lock(outbox.folder / "sync.lock")
    try:
        lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _adopt_journals(workspace: Workspace) -> None:
    """Runs that were started before this machine had ever seen the store: their journals come to the others."""
    unseen = workspace.data / "live" / digest_of(workspace.url.encode()).hex()[:32]
    if not unseen.is_dir():
        return
    for journal in unseen.glob("*/*/*/*"):
        target = workspace.data / "live" / workspace.store.settings.store / journal.relative_to(unseen)
        target.parent.mkdir(parents=True, exist_ok=True)
        journal.rename(target)
    shutil.rmtree(unseen)


class Sender:
    """Sends one part of an outbox, which nobody writes to any more."""

    def __init__(
        self,
        workspace: Workspace,
        part: Path,
        sent: Sent,
        progress: Callable[[int], None],
        ahead: Mapping[str, Future[int]] | None = None,
    ) -> None:
        """`ahead` has the packs that are being uploaded already, by key: how many bytes those are, 0 for a failure."""
        self._workspace = workspace
        self._store: Store = workspace.store
        self._part = OutboxPart(part)
        self._sent = sent
        self._progress = progress
        self._ahead = ahead or {}
        self._made = Renumbering()
        self._sent_as: dict[str, str] = {}  # packs whose names were condemned

    def send(self) -> None:
        """Bytes, then claims of runs, then transactions by the time of their commit."""
        self._upload()
        waiting = sorted(
            (
                (entry, project)
                for project in self._part.projects()
                for entry in self._part.transactions(project)
            ),
            key=lambda found: (found[0].time, found[0].seq),
        )
        for project in self._part.projects():
            self._claim_runs(project)
        known = {project: self._known(project) for project in self._part.projects()}
        for transaction, project in waiting:
            self._commit(project, transaction, known[project])

    # Bytes

    def _upload(self) -> None:
        keys = [found.key for found in self._part.local.list("packs/")]
        for project in self._part.projects():
            prefix = project_prefix(project.entity, project.project)
            keys += [found.key for found in self._part.local.list(f"{prefix}runs/")]
        # A part of a history is visible by its marker: what the marker names goes first.
        late = [key for key in keys if "/history/" in key and key.endswith(".json")]
        early = [
            key
            for key in keys
            if key not in late and not key.endswith("/run.json") and "/heartbeat/" not in key
        ]
        with ThreadPoolExecutor(_UPLOADS, "lineart-sync") as pool:
            for size in pool.map(self._upload_one, early):
                self._sent.uploaded_bytes += size
                self._progress(size)
        for key in late:
            self._sent.uploaded_bytes += self._upload_one(key)

    def _upload_one(self, key: str) -> int:
        path = self._part.folder / key
        size = path.stat().st_size
        if key in self._ahead and self._ahead[key].result() == size:
            return size
        if key.startswith("packs/") or key.endswith(".parquet"):
            try:
                if self._store.backend.stat(key).size_bytes == size:
                    return 0
            except NotFoundError:
                pass  # the usual case: it is new
            # The outbox keeps it until the commit: a collector may take it for garbage as soon as it is there.
            self._store.backend.write_file(key, linked_copy(path, self._part.local.staging()))
            return size
        try:
            self._store.backend.create(key, path.read_bytes())
        except ConflictError:
            return 0  # sent before
        return size

    def _claim_runs(self, project: ProjectName) -> None:
        home = self._workspace.project(project)
        prefix = project_prefix(project.entity, project.project)
        for run in self._part.local.folders(f"{prefix}runs/"):
            with contextlib.suppress(NotFoundError):
                self._part.local.read(f"{prefix}runs/{run}/run.json")
                claim_run(home, run, self._time_of(project, run))

    def _time_of(self, project: ProjectName, run: str) -> str:
        for transaction in self._part.transactions(project):
            if any(op.get("run") == run and op["op"] == "run.start" for op in transaction.ops):
                return transaction.time
        return ""

    # Transactions

    def _known(self, project: ProjectName) -> set[str]:
        """The ids of the outbox's transactions that the store has; also one whose answer was lost when it was made."""
        home = self._workspace.project(project)
        found = set()
        for entry in home.log.read_after(self._part.base(project)):
            found.add(entry.transaction.id)
            found |= {op[SENT_AS] for op in entry.transaction.ops if SENT_AS in op}
        return found

    def _commit(self, project: ProjectName, transaction: Transaction, known: set[str]) -> None:
        home = self._workspace.project(project)
        if transaction.id in known:
            learn(home.state(), project, transaction, self._made)
            return
        _, ops = home.commit_stored(
            lambda: self._with_packs(project, transaction),
            lambda state, now: rebase(state, project, now, self._made),
        )
        self._sent.transactions += bool(ops)
        for op in ops:
            if op["op"] == "version.create":
                self._sent.versions.append(f"{project}/{op['collection']}:v{op['version']}")
            elif op["op"] == "run.start":
                self._sent.runs.append(f"{project}/{op['run']}")

    def _with_packs(self, project: ProjectName, transaction: Transaction) -> Transaction:
        """`transaction` with packs that are in the store, and are not being collected. Raises: StoreError."""
        ops: list[Op] = []
        for op in transaction.ops:
            changed = dict(op)
            if op.get("files"):
                changed["files"] = self._kept(f"the files of run {project}/{op['run']}", op["files"])
            if op["op"] in ("version.create", "artifact.contribute"):
                changed = self._kept(f"{project}/{op['collection']}", changed)
            ops.append(changed)
        return replace(transaction, ops=ops)

    def _kept(self, what: str, record: Mapping[str, Any]) -> dict[str, Any]:
        """What was taken for stored while nobody could look, or was collected meanwhile, is stored again."""
        meta_packs = [self._sound(pack) for pack in record["meta_packs"]]
        try:
            named = list(record.get("packs") or ())
            if record.get("packs_object"):
                named = read_pack_list(self._store, record["packs_object"], meta_packs)
            packs = [self._sound(pack) for pack in named]
            is_as_it_was = packs == named and meta_packs == list(record["meta_packs"])
            if is_as_it_was and all(map(self._is_safe, (*packs, *meta_packs))):
                return dict(record)
            holder = replace(
                holder_of("version", what, record),
                packs=tuple(packs),
                meta_packs=tuple(meta_packs),
                packs_object=None,
            )
            anew = stored_anew(self._store, holder)
        except NotFoundError as error:
            raise StoreError(
                f"outbox {self._part.folder}: {what} relies on bytes that were in the store and were collected"
                f" ({error}); log its files again"
            ) from error
        return {**{key: value for key, value in record.items() if key not in PLACES}, **anew}

    def _sound(self, pack: str) -> str:
        """A pack that may be named for `pack`: of one in the outbox another with the same objects, if it must be."""
        found = self._sent_as.get(pack, pack)
        if not self._is_safe(found):
            with contextlib.suppress(
                NotFoundError
            ):  # it never lay here: what it holds is looked for in the store
                source, limits = self._part.local, self._store.settings.pack
                found = salted_copy(self._store.objects, source, bytes.fromhex(pack), limits).hex()
                self._sent_as[pack] = found
        return found

    def _is_safe(self, pack: str) -> bool:
        """Whether a pack is in the store and not being collected."""
        digest, objects = bytes.fromhex(pack), self._store.objects
        return digest not in objects.condemned and bool(objects.confirm([digest]))
