"""Worker processes against threads on this machine, and what a task costs its worker, the client and the scheduler.

    python bench/cluster.py --save        # under five minutes of an idle machine; writes bench/results/
    python bench/cluster.py --quick       # the same tables of short runs

A run by threads, by a ProcessPoolExecutor and by a Dask LocalCluster of processes, with one worker and with two, in
turns in one process; an efficiency is the time of as many threads over that of the workers. All give the same bits,
which is asserted. The other tables are of `cluster_costs.py`. Without Dask its columns are left out.
"""

import argparse
import datetime
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

import cluster_costs
import numpy as np
from compare import RESULTS, device

import mcgrad as mg

HERE = str(Path(__file__).parent)
WORKERS = 1, 2
COMPONENTS = {10: 3000, 1_000: 2000, 20_000: 400, 1_000_000: 12}  # of results, and how many are taken of each
PACKAGES = "numpy", "numba", "distributed"


class Case(NamedTuple):
    """A run.

    Parameters
    ----------
    title : str
    make : callable
        Returns its Estimator with a number of threads.
    seconds : float
        That it takes one thread.
    rounds : int
    """

    title: str
    make: object
    seconds: float
    rounds: int


def chain(z):
    return -np.sum((z[1:] - z[:-1] ** 2) ** 2 + 0.01 * (1 - z[:-1]) ** 2)


def waves(z):
    return np.sum(np.sin(z) * z)


def ring(z):
    return np.sum(np.log(np.cosh(z))) + 0.5 * np.sum(z * np.roll(z, 1))


def narrow(threads):
    return mg.Estimator(chain, mg.Normal(np.zeros(5), np.ones(5)), backend="cpu", threads=threads)


def wide(threads):
    return mg.Estimator(waves, mg.Normal(np.zeros(10_000), np.ones(10_000)), backend="cpu", threads=threads)


def rows(threads):
    rng = np.random.default_rng(0)
    q = mg.Normal(rng.normal(size=(1000, 2)), rng.uniform(0.5, 1.5, (1000, 2)), batch_ndim=1)
    return mg.Estimator(ring, q, backend="cpu", threads=threads)


def cases(quick):
    """Return the runs, each with how long it takes one thread."""
    short, rounds = (0.3, 2) if quick else (1.5, 4)
    return [
        Case("10 components, a hundredth of a second", narrow, 0.01, 5),
        Case("10 components", narrow, short, rounds),
        Case("20,000 components", wide, short, rounds),
        Case("1,000 rows of 4 components", rows, short, rounds),
        Case("10 components, long", narrow, 1.0 if quick else 20.0, 1 if quick else 2),
    ]


def clocked(call):
    begun = time.perf_counter()
    found = call()
    return time.perf_counter() - begun, found


def draws_for(estimator, seconds):
    """Return about how many draws an Estimator takes in some seconds, with two digits."""
    n, taken = 1000, 0.0
    estimator(n)
    while taken < min(0.2, seconds):
        n *= 4
        taken, _ = clocked(lambda n=n: estimator(n))
    return max(int(float(f"{n * seconds / taken:.1e}")), 1000)


def same_bits(found):
    first, *others = found
    return all(
        np.array_equal(x.value, first.value) and np.array_equal(x.grad["loc"], first.grad["loc"]) for x in others
    )


def measure(case, executors):
    """Return n, and the seconds of each way with each number of workers, in turns."""
    estimators = {workers: case.make(workers) for workers in WORKERS}
    n = draws_for(estimators[1], case.seconds)
    ways = {("threads", workers): {} for workers in WORKERS}
    ways |= {key: {"executor": executor} for key, executor in executors.items()}
    for (_, workers), options in ways.items():  # workers load the payload
        estimators[workers](min(n, 100_000), **options)
    times = {key: [] for key in ways}
    for _ in range(case.rounds):
        found = []
        for (name, workers), options in ways.items():
            taken, estimate = clocked(lambda w=workers, o=options: estimators[w](n, seed=1, **o))
            times[name, workers].append(taken)
            found.append(estimate)
        assert same_bits(found), f"{case.title}: other bits than in threads"
    return n, times


def efficiency_table(found, names):
    """Write the times of threads, and the medians of the ratios of the rounds."""
    head = [f"{name}, {workers}" for workers in WORKERS for name in names]
    lines = [f"| run | draws | {' | '.join(head)} |", "|---|---:|" + "---:|" * len(head)]
    for title, (n, times) in found.items():
        cells = []
        for workers in WORKERS:
            threads = times["threads", workers]
            cells.append(f"{median(threads):.3g} s")
            for name in names[1:]:
                pairs = zip(threads, times[name, workers], strict=True)
                cells.append(f"{median(t / w for t, w in pairs):.2f}")
        lines.append(f"| {title} | {n:.1e} | {' | '.join(cells)} |")
    return "\n".join(lines)


def task_table(quick):
    """Write the costs of real tasks, and return a task of the narrow run with the content of its payload."""
    lines = [
        "| run | payload, bytes | task | result | pieces | seconds | around the kernel, microseconds |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    kept = None
    runs = {"10 components": narrow, "20,000 components": wide, "1,000 rows of 4 components": rows}
    for title, make in runs.items():
        estimator, adapter = make(1), cluster_costs.OneByOne()
        estimator(draws_for(estimator, 1.0 if quick else 6.0), executor=adapter)
        costs, kept = adapter.costs(), kept or (adapter.task, adapter.content)
        lines.append(
            f"| {title} | {costs.payload:,} | {costs.task:,.0f} | {costs.result:,.0f} | {costs.pieces:.0f} "
            f"| {costs.seconds:.2f} | {1e6 * costs.around:,.0f} |"
        )
    return "\n".join(lines), kept


def start_table(task, content):
    """Write the seconds until a worker that is started has done its first task, its kernel aside."""
    lines = ["| cache of compiled code | seconds until a new process has done its first task |", "|---|---:|"]
    usual = os.environ.get("MCGRAD_CACHE_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MCGRAD_CACHE_DIR"] = folder
        for cache in ("empty", "filled"):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                whole, kernel = cluster_costs.first_task(task, content, pool)
            lines.append(f"| {cache} | {whole - kernel:.1f} |")
    os.environ.pop("MCGRAD_CACHE_DIR")
    if usual is not None:
        os.environ["MCGRAD_CACHE_DIR"] = usual
    return "\n".join(lines)


def client_table(pool, client, quick):
    """Write what a result costs the client, by its components and by the way on which it comes."""
    ways = ["at once", "at once, by bytes", "processes"] + (["Dask", "Dask's scheduler"] if client else [])
    rates = ["processes", "Dask"] if client else ["processes"]
    lines = [
        f"| components | {' | '.join(ways)} | {' | '.join(f'tasks a second, {name}' for name in rates)} |",
        "|---|" + "---:|" * (len(ways) + len(rates)),
    ]
    for components, count in COMPONENTS.items():
        count = max(count // 5, 5) if quick else count
        found = [cluster_costs.in_this_process(components, count, by_bytes) for by_bytes in (False, True)]
        found.append(cluster_costs.through_pool(pool, components, count))
        if client:
            found.append(cluster_costs.through_dask(client, components, count))
        times = [costs.client for costs in found] + ([found[-1].scheduler] if client else [])
        cells = [f"{1e3 * x:,.3g}" for x in times] + [f"{costs.rate:,.0f}" for costs in found[2:]]
        lines.append(f"| {components:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def with_dask(stack, workers, cluster_type):
    """Return a client of a cluster of processes with a thread each."""
    import distributed

    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (HERE, os.environ.get("PYTHONPATH")))
    )  # finds cluster_costs
    cluster = getattr(distributed, cluster_type)(
        n_workers=workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    )
    return stack.enter_context(distributed.Client(stack.enter_context(cluster)))


def tables(quick):
    """Return the titles and texts of all tables."""
    there = find_spec("distributed") is not None
    names = ["threads", "processes"] + (["Dask"] if there else [])
    costs, (task, content) = task_table(quick)
    yield "What is sent, and a worker's time", costs
    yield "A new worker", start_table(task, content)
    with ExitStack() as stack:
        executors = {}
        for workers in WORKERS:
            pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
            executors["processes", workers] = stack.enter_context(pool)
            if there:
                executors["Dask", workers] = with_dask(stack, workers, "LocalCluster")
        found = {case.title: measure(case, executors) for case in cases(quick)}
        yield "Efficiency: seconds of threads, and these over the seconds of workers", efficiency_table(found, names)
    with ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(2, mp_context=get_context("spawn")))
        client = with_dask(stack, 2, "SubprocessCluster") if there else None
        yield "The client's time for a result, in milliseconds of a processor", client_table(pool, client, quick)


def versions():
    found = [f"mcgrad {mg.__version__}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return ", ".join(found)


def main():
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--quick", action="store_true", help="short runs")
    options.add_argument("--save", action="store_true", help="write to bench/results/")
    given = options.parse_args()
    today = datetime.date.today().isoformat()
    head = [device(), versions(), today] + (["short runs (--quick)"] if given.quick else [])
    parts = [f"# Worker processes and threads\n\n{'; '.join(head)}"]
    print(parts[0], flush=True)
    begun = time.perf_counter()
    for title, text in tables(given.quick):
        parts.append(f"## {title}\n\n{text}")
        print(f"\n{parts[-1]}", flush=True)
    print(f"\n{time.perf_counter() - begun:.0f} s")
    if given.save:
        (RESULTS / f"cluster-{today}.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
