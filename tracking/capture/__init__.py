"""What a run records by itself: process, code, packages, console, machine. None of it may slow or break the run.

May import: storage, `run_settings`. Start with `gathering` (everything at the start of a run); `console` copies what is
printed, `system` measures the machine; `masking` decides what is a secret.
"""

from __future__ import annotations

from ...storage.masking import mask_text, masked, masked_variables
from .code import executed_cells, is_notebook, main_code
from .console import Console
from .gathering import Captured, gather, quick_facts
from .git import dirty_diff, git_state
from .launchers import launcher_facts
from .output_file import OutputFile
from .packages import installed_packages
from .process import capture_environment, capture_process, gpu_names, machine_facts, process_facts
from .system import SystemSampler
from .terminal import Collapser

__all__ = [
    "Captured",
    "Collapser",
    "Console",
    "OutputFile",
    "SystemSampler",
    "capture_environment",
    "capture_process",
    "dirty_diff",
    "executed_cells",
    "gather",
    "git_state",
    "gpu_names",
    "installed_packages",
    "is_notebook",
    "launcher_facts",
    "machine_facts",
    "main_code",
    "mask_text",
    "masked",
    "masked_variables",
    "process_facts",
    "quick_facts",
]
