"""Dask clusters on this machine, that end with the test."""

import subprocess
import sys
from contextlib import ExitStack, contextmanager

from tests.processes import running

COMMAND = [sys.executable, "-m"]


@contextmanager
def local_cluster(workers, **options):
    """Start a LocalCluster of processes with a thread each, without dashboard; return its client and itself."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            worker_dashboard_address=":0",
            memory_limit=None,
            silence_logs=60,
            **options,
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers)
        yield client, cluster


@contextmanager
def worker(address, environment):
    """Start a worker in an environment of its own."""
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60"]
    command = [*COMMAND, "distributed.cli.dask_worker", address, *options]
    with running(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        yield process


@contextmanager
def scheduler_and_workers(file, workers, environment):
    """Start a scheduler, which writes its address to a file, and workers; return the scheduler's process."""
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    with ExitStack() as stack:
        scheduler = stack.enter_context(running([*COMMAND, "distributed.cli.dask_scheduler", *options], **quiet))
        for _ in range(workers):
            options = ["--scheduler-file", str(file), "--nthreads", "1", "--no-nanny", "--no-dashboard"]
            stack.enter_context(running([*COMMAND, "distributed.cli.dask_worker", *options], **quiet))
        yield scheduler
