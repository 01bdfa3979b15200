"""What `import wandb` finds under `art exec`: it puts Lineart's names in the place of this file."""

from __future__ import annotations

import sys

if __name__ == "wandb":  # not where tools look through the files of the package
    try:
        from lineart.integrations.wandb import install
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "lineart":
            raise
        raise ModuleNotFoundError(
            f'lineart is not installed in {sys.executable}, which "art exec" was asked to run; '
            'install it there, or pass --no-alias to "art exec" to get the wandb that is installed there',
            name="wandb",
        ) from error
    install()
