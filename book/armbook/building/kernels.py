"""A papermill engine whose kernels listen on Unix sockets."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from papermill.engines import NBClientEngine
from traitlets.config import Config


class UnixSockets(NBClientEngine):
    """Runs a notebook as papermill does by itself, but for the way it talks to the kernel.

    A kernel is told five TCP ports that were free a moment before it takes them. When another process takes one of them first,
    a notebook that runs beside it for instance, the kernel hangs and never answers. The sockets of a folder of its own nobody
    else takes. Where the system has none (Windows) the kernel listens on ports. For papermill's command, as it heeds SIGTERM.
    """

    @classmethod
    def execute_managed_notebook(cls, *positional: Any, **named: Any) -> Any:
        if os.name != "posix":
            return super().execute_managed_notebook(*positional, **named)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the kernel and the folder end with the process
        with TemporaryDirectory(prefix="kernel-") as folder:
            address = {"transport": "ipc", "ip": str(Path(folder) / "socket")}
            return super().execute_managed_notebook(*positional, config=Config(KernelManager=address), **named)
