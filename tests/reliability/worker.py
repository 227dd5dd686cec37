"""Run attacks: ``python -m tests.reliability.worker cache_damage:20 kills:5 --seed 0 --seconds 60``.

Prints a line of JSON for each case as it ends.
"""

import argparse
import importlib
import json
import os
import random
import sys
import tempfile
from dataclasses import asdict

FAMILIES = {  # modules of this folder, and what the table calls them
    "cache_damage": "damage to the cache",
    "failing_writes": "writes that fail",
    "kills": "kills and signals",
    "records": "damage to results and checkpoints",
    "targets": "results onto files of the user's",
    "call_arguments": "wrong arguments of calls",
    "job_keys": "wrong job files",
    "user_code": "users' code in batches",
    "data_files": "data files",
    "concurrency": "calls at once",
    "surroundings": "environments",
}
ALONE = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # a fork has one thread


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="+", metavar="FAMILY:TRIES", help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for each family, at most")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mcgrad-attack-") as folder:
        os.environ.update(ALONE, MCGRAD_CACHE_DIR=f"{folder}/cache")
        import numpy as np

        import mcgrad as mg
        import mcgrad.cli.batch
        import mcgrad.jobs.jobfile
        from tests.reliability.attack import attacks

        mg.estimate(lambda z: np.cos(z), mg.Normal(), 1000, backend="cpu", threads=1)  # Numba is warm before any fork
        for given in args.families:
            family, _, tries = given.partition(":")
            cases = importlib.import_module(f"tests.reliability.{family}").cases(random.Random(args.seed))
            for verdict in attacks(cases, int(tries), args.seconds):
                print(json.dumps({"family": family, **asdict(verdict)}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
