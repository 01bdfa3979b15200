"""Registries and registered models as people name them on the command line."""

from __future__ import annotations

from dataclasses import replace
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
    """A registered model or, where the registry has none of that name, an artifact of the project in use.

    Raises: InvalidNameError.
    """
    wanted = workspace.parse(text)
    home = replace(wanted, project=open_registry(workspace, None).path)
    is_registered = "/" not in text and home.collection in workspace.project(home.project).state().collections
    return home if is_registered else wanted


def model_target(workspace: Workspace, text: str) -> str:
    """The path of the model that a version is linked to: without one it is in `model-registry`."""
    return text if "/" in text else f"{open_registry(workspace, None).path}/{text}"
