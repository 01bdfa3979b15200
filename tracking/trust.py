"""Reading a project's log for those who trust some keys: where aliases point by signed promotions only.

With trusted keys in the settings an alias that was ever protected means the version that a signed promotion moved it
to last. What was said without such a key is passed over, and told once.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from ..artifacts.names import ArtifactName, ProjectName
from ..artifacts.state import ProjectState
from ..registry.audit import Audit, Trusted
from ..registry.signing import TrustedKeys
from ..registry.signing.log_facts import LogFacts
from ..storage.errors import NotFoundError
from ..storage.log import Position
from ..storage.store import Store, project_prefix

_log = logging.getLogger("lineart")


class AuditedLog:
    """A project's log, audited as far as it has grown."""

    def __init__(self, store: Store, project: ProjectName, trusted: TrustedKeys | None) -> None:
        self._log = store.log(project_prefix(project.entity, project.project))
        self._position = Position()
        self._audit = Audit(LogFacts(store.settings.store, str(project)), trusted)
        self._told: set[str] = set()

    def refresh(self) -> Audit:
        """The audit of all that is committed. Raises: IntegrityError when the log contradicts itself; CommError."""
        is_first = self._position.seq < 0
        for entry in self._log.read_after(self._position):
            self._audit.take(entry.transaction)
            self._position = entry.position
            self._audit.log.pass_by(entry.position)
        if is_first:
            self._log.demand_no_hole(self._position)
        return self._audit

    def target(self, name: ArtifactName, stated: int | None) -> int | None:
        """The version that an alias means for those who trust these keys; `stated` is what the log says without them.

        Raises: NotFoundError when no trusted key has promoted a version.
        """
        found = self.refresh().targets.get((name.collection, name.reference))
        if found is None or not found.is_guarded or found.number == stated:
            return stated
        said = self._doubt(name.short, found, stated)
        if found.number is None:
            raise NotFoundError(f"{said}; no version was promoted there by a trusted key")
        self._tell(f"{said}; it is taken to be v{found.number}")
        return found.number

    def corrected(self, state: ProjectState) -> ProjectState:
        """The state with aliases where they point for those who trust these keys."""
        collections = state.collections
        for (name, alias), found in self.refresh().targets.items():
            collection = collections.get(name)
            if collection is None or not found.is_guarded or collection.aliases.get(alias) == found.number:
                continue
            said = self._doubt(f"{name}:{alias}", found, collection.aliases.get(alias))
            if found.number is None:
                self._tell(f"{said}; it is taken to point nowhere")
                aliases = collection.aliases.discard(alias)
            else:
                self._tell(f"{said}; it is taken to be v{found.number}")
                aliases = collection.aliases.insert(alias, found.number)
            collections = collections.insert(name, replace(collection, aliases=aliases))
        return replace(state, collections=collections)

    def _doubt(self, alias: str, found: Trusted, stated: int | None) -> str:
        reason = found.refused[-1] if found.refused else "no promotion of it is signed by a trusted key"
        claim = "nothing" if stated is None else f"v{stated}"
        return f"alias {alias} is said to be {claim}, which is not believed: {reason}"

    def _tell(self, said: str) -> None:
        if said not in self._told:
            self._told.add(said)
            _log.warning("%s", said)
