"""`art run get`: files of a run."""

from __future__ import annotations

import click

from .completion import complete_runs
from .options import common_options, open_workspace
from .output import say
from .run_names import find_run


@click.command()
@click.argument("name", metavar="RUN", shell_complete=complete_runs)
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option(
    "--root", type=click.Path(file_okay=False), default=".", help="The folder; else the current one."
)
@click.option("--replace", is_flag=True, help="Write files again that are there already.")
@common_options
def get(name: str, paths: tuple[str, ...], root: str, replace: bool) -> None:
    """Fetch files of a run, or all of them.

    What the run has saved and what was captured with it: requirements.txt, diff.patch, code/..., output.log. Writes the
    path of each file.

    \b
    art run get 3f9a1c20
    art run get 3f9a1c20 requirements.txt --root captured
    """
    found = find_run(open_workspace(), name)
    files = [found.file(path) for path in paths] if paths else found.files()
    for file in files:
        say(file.download(root, replace=replace))
