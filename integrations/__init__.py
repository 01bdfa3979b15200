"""Other people's libraries: callbacks that log their training, and `wandb` as another name of Lineart.

May import: tracking and below. Each module stands for one library and imports it when it is used; start with the one
of the library at hand, or with `wandb` (scripts that say `import wandb`).
"""

from __future__ import annotations

__all__: list[str] = []
