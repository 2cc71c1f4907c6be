"""The command `partita`, run as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

__all__ = ["answer", "run"]


def run(*arguments: Any, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs the command and checks its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "partita", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )
    assert done.returncode == code, done.stderr
    return done


def answer(*arguments: Any) -> Any:
    """What the command answers in JSON."""
    return json.loads(run(*arguments, "--json").stdout)
