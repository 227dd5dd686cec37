"""Processes that a test starts, and that end with it."""

import subprocess
from contextlib import contextmanager


@contextmanager
def running(command, **options):
    """Start a process as `subprocess.Popen` does, and kill it at the end if an assertion or a timeout leaves it."""
    with subprocess.Popen(command, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()
