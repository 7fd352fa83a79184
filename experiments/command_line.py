"""How a script was called, for its results, and how it is stopped."""

import shlex
import signal
import sys
from pathlib import Path
from typing import Any


def as_called(script: str) -> str:
    """The command, without the paths of this machine."""
    arguments = ("PATH" if Path(argument).is_absolute() else argument for argument in sys.argv[1:])
    return shlex.join(["python", f"experiments/{script}.py", *arguments])


def stop_like_interrupt() -> None:
    """Let the signal to terminate do what Ctrl-C does: what was measured is kept."""

    def terminated(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, terminated)
