"""Run a piece of Python in a fresh process and get back what it prints as JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path


def fresh(code, *arguments, **environment):
    """The JSON object that `code` prints, run beside the files of this folder."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        env=os.environ | environment,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])
