"""Which variant of a peer was fastest on this kind of machine: bench/tune.py measures them and writes the file."""

import json
from pathlib import Path

FILE = Path(__file__).parent / "tuned.json"


def key(peer, problem, dtype, threads):
    return f"{peer}/{problem}/{dtype}/{threads}"


def best(peer, problem, dtype, threads, variants):
    """The fastest of the variants so far; the first where nothing has been measured."""
    found = json.loads(FILE.read_text()).get(key(peer, problem.name, dtype, threads)) if FILE.exists() else None
    return found["variant"] if found else variants[0]
