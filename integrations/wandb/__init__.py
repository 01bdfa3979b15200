"""`import wandb` as Lineart: for scripts and libraries that call the W&B SDK and shall not be changed.

May import: tracking and below. Start with `install`, which puts the alias into this process; `names` is the table of
what the alias offers and where it comes from, `calls` holds the functions that take other arguments than ours,
`modules` makes the modules. `art exec` puts the folder `integrations/shim` before everything else on the child's path,
and the `wandb.py` there calls `install`.

    from lineart.integrations.wandb import install

    install()
    import wandb  # Lineart
"""

from __future__ import annotations

from .modules import install, is_installed, uninstall

__all__ = ["install", "is_installed", "uninstall"]
