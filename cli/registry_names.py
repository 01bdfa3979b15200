"""Registries and registered models as people name them on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..artifacts.names import ArtifactName
    from ..tracking.registries import Registry
    from ..tracking.workspace import Workspace

registry_option = click.option(
    "--registry", "registry", metavar="[ENTITY/]NAME", help="Another registry than model-registry."
)


def open_registry(workspace: Workspace, name: str | None) -> Registry:
    """A registry, by default model-registry. Raises: InvalidNameError."""
    from ..tracking.registries import Registry, registry_name

    return Registry(workspace, registry_name(workspace, name))


def model_name(workspace: Workspace, text: str) -> ArtifactName:
    """An artifact of the project in use or, if there is none, a registered model. Raises: InvalidNameError."""

    return workspace.find(text)
