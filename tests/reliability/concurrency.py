"""Calls at once, from threads and processes, and calls that are interrupted: the bits of calls one after the other."""

import copy
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from random import Random

import numpy as np

import mcgrad as mg
from tests.reliability.attack import REFUSED, RIGHT, Case, Lost, command, forked, in_turn, numbers

X = np.random.default_rng(0).standard_normal((50, 3))


def sine(z):
    return np.sin(z)


def chain(z):
    return np.sum((z[1:] - z[:-1] ** 2) ** 2)


def regression(z, *, tau, X):
    return np.sum(np.logaddexp(0.0, X @ z)) - 0.5 * tau * np.sum(z**2)


PROBLEMS = (
    (sine, lambda: mg.Normal(0.3, 1.2), {}),
    (chain, lambda: mg.Normal(np.zeros(5), 0.5), {}),
    (regression, lambda: mg.Normal(np.zeros(3), 1.0), {"params": {"tau": 1.0}, "data": {"X": X}}),
)


def made(number: int, backend: str, threads: int) -> mg.Estimator:
    f, q, given = PROBLEMS[number]
    return mg.Estimator(f, q(), backend=backend, threads=threads, **given)


def bits(estimate: mg.Estimate) -> str:
    """Return all numbers of an estimate, but for the time."""
    return str({name: value for name, value in estimate.to_dict().items() if name not in ("seconds", "digest")})


def _calls(rng: Random, count: int) -> list[tuple[int, str, int, int, int]]:
    """Return problems, backends, numbers of threads, of draws, and seeds."""
    sizes = {"numpy": (1000, 30_000, 200_000), "cpu": (1000, 100_000, 2_000_000)}
    found = []
    for _ in range(count):
        backend = rng.choice(["numpy", "cpu", "cpu"])
        found.append(
            (rng.randrange(3), backend, rng.choice([1, 2, 3, 8]), rng.choice(sizes[backend]), rng.randrange(9))
        )
    return found


@cache
def alone(number: int, backend: str, n: int, seed: int) -> str:
    """Return what one call in a process of its own gives, on one thread."""
    return str(forked(lambda: bits(made(number, backend, 1)(n, seed))).value)


def _expected(calls: list[tuple[int, str, int, int, int]]) -> list[str]:
    return [alone(number, backend, n, seed) for number, backend, _, n, seed in calls]


def _same(found: list[str], expected: list[str]) -> str:
    wrong = sum(a != b for a, b in zip(found, expected, strict=True))
    if wrong:
        raise Lost(f"{wrong} of {len(expected)} calls give other bits")
    return RIGHT


def threads(shared: bool) -> Callable[[Random], Case]:
    """Call from eight threads: one estimator for all, or one for each call."""

    def make(rng: Random) -> Case:
        seed = rng.getrandbits(32)

        def act(folder: Path) -> str:
            calls = _calls(Random(seed), 24)
            expected = _expected(calls)

            def run() -> list[str]:
                known = {call[:3]: made(*call[:3]) for call in calls} if shared else {}

                def one(call: tuple[int, str, int, int, int]) -> str:
                    return bits((known.get(call[:3]) or made(*call[:3]))(call[3], call[4]))

                with ThreadPoolExecutor(8) as executor:
                    return list(executor.map(one, calls))

            return _same(forked(run).value, expected)

        return Case("threads, " + ("estimators shared" if shared else "an estimator each"), f"seed {seed}", act)

    return make


def _children(count: int, run: Callable[[int], object]) -> list[int]:
    """Run a function in processes at once, which start at one moment; return their statuses."""
    ready, go = os.pipe()
    found = []
    for i in range(count):
        child = os.fork()
        if child == 0:
            status = 9
            try:
                os.close(go)
                os.read(ready, 1)  # until the last of us is there
                run(i)
                status = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(status)
        found.append(child)
    os.close(go)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in found]


def processes(others: str) -> Callable[[Random], Case]:
    """Start processes at once on one cache: empty at first, which others clear, which holds next to nothing, or one of
    which is killed, perhaps while the others wait for what it compiles."""

    def make(rng: Random) -> Case:
        seed = rng.getrandbits(32)

        def act(folder: Path) -> str:
            rng = Random(seed)
            calls = [(rng.choice([0, 0, 1]), "cpu", 1, 1000, 0) for _ in range(4)]
            moment = rng.uniform(0.1, 2.0)
            expected = _expected(calls)

            def run() -> str:
                os.environ["MCGRAD_CACHE_DIR"] = str(folder / "cache")
                if others == "limited":
                    os.environ["MCGRAD_CACHE_SIZE"] = "10kB"

                def one(i: int) -> None:
                    if i == len(calls) and others == "killed":
                        signal.setitimer(signal.ITIMER_REAL, moment)  # which ends the process as kill -9 does
                        made(*calls[0][:3])(1000, 0)
                    elif i == len(calls):
                        from mcgrad.cli import main

                        for _ in range(200):
                            main(["cache", "clear"])
                    elif bits(made(*calls[i][:3])(1000, 0)) != expected[i]:
                        raise ValueError("other bits")

                statuses = _children(len(calls) + (others in ("cleared", "killed")), one)
                return str(statuses[: len(calls)] if others == "killed" else statuses)

            ended = forked(run)
            if any(x != "0" for x in ended.value.strip("[]").split(", ")):
                raise Lost(f"statuses {ended.value}: {ended.err[-200:]}")
            return RIGHT

        return Case(f"processes on one cache, {others}", f"seed {seed}", act)

    return make


def runs(same: bool) -> Callable[[Random], Case]:
    """Start runs of one job file at once: into one place, where one of them runs, or each into its own."""

    def make(rng: Random) -> Case:
        seed = rng.getrandbits(32)

        def act(folder: Path) -> str:
            rng = Random(seed)
            for job in (folder / "job.toml", folder / "alone" / "job.toml"):
                job.parent.mkdir(exist_ok=True)
                job.with_name("model.py").write_text("import numpy as np\n\n\ndef f(z):\n    return np.sin(z)\n")
                job.write_text(
                    'integrand = "model.py:f"\ndistribution = {family = "Normal", loc = 0.3}\nbackend = "numpy"\n'
                    f'compare = "none"\nthreads = 1\nname = "job"\nn = {rng.choice([1000, 300_000])}\n'
                )
                rng = Random(seed)
            if command(folder / "alone", "run", "job.toml").value != 0:
                raise RuntimeError("the job does not run")
            right, places = numbers(folder / "alone" / "results" / "job.json"), range(1 if same else 4)

            def one(i: int) -> None:
                from mcgrad.cli import main

                os.chdir(folder)
                status = main(["run", "--checkpoint", "0", "--out", f"out{0 if same else i}", "job.toml"])
                if status not in ((0, 2) if same else (0,)):
                    raise ValueError(f"status {status}")

            ended = forked(lambda: str(_children(4, one)))
            if ended.value != "[0, 0, 0, 0]" or "Traceback" in ended.err:
                raise Lost(f"statuses {ended.value}: {ended.err[-200:]}")
            if any(numbers(folder / f"out{i}" / "job.json") != right for i in places):
                raise Lost("other numbers")
            files = {path.name for i in places for path in (folder / f"out{i}").iterdir()}
            if any(name.endswith(".tmp") or "checkpoint" in name for name in files):
                raise Lost(f"leaves {sorted(files)}")
            return REFUSED if "error" in ended.err else RIGHT

        return Case(f"runs into {'one place' if same else 'places of their own'}", f"seed {seed}", act)

    return make


def fork(rng: Random) -> Case:
    """Fork while a run goes on in another thread; the child runs, too."""
    seed = rng.getrandbits(32)

    def act(folder: Path) -> str:
        calls = _calls(Random(seed), 2)
        expected = _expected(calls)

        def run() -> str:
            estimators = [made(*call[:3]) for call in calls]
            estimators[0](1000, 1)  # on its threads
            started = threading.Event()
            later = threading.Thread(target=lambda: (started.set(), estimators[0](*calls[0][3:])))
            later.start()
            started.wait()

            def one(i: int) -> None:
                if [bits(e(*call[3:])) for e, call in zip(estimators, calls, strict=True)] != expected:
                    raise ValueError("other bits")

            statuses = _children(1, one)
            later.join()
            return str(statuses)

        ended = forked(run)
        if ended.value != "[0]":
            raise Lost(f"child: {ended.value}: {ended.err[-200:]}")
        return RIGHT

    return Case("fork in a run", f"seed {seed}", act)


def interrupted(rng: Random) -> Case:
    """Interrupt calls at some moment; the next ones are right."""
    seed = rng.getrandbits(32)

    def act(folder: Path) -> str:
        rng = Random(seed)
        calls = _calls(rng, 3)
        expected, moments = _expected(calls), [10 ** rng.uniform(-5, -1.5) for _ in range(5)]

        def run() -> list[str]:
            signal.signal(signal.SIGALRM, signal.default_int_handler)
            estimators = [made(*call[:3]) for call in calls]
            for moment in moments:
                for estimator, call in zip(estimators, calls, strict=True):
                    try:
                        signal.setitimer(signal.ITIMER_REAL, moment)
                        estimator(*call[3:])
                        signal.setitimer(signal.ITIMER_REAL, 0)
                    except KeyboardInterrupt:
                        pass
            return [bits(e(*call[3:])) for e, call in zip(estimators, calls, strict=True)]

        return _same(forked(run).value, expected)

    return Case("interrupted calls", f"seed {seed}", act)


def copied(how: str) -> Callable[[Random], Case]:
    """Copy an estimator; the copy gives the same bits."""
    ways = {"pickle": lambda x: pickle.loads(pickle.dumps(x)), "copy": copy.copy, "deepcopy": copy.deepcopy}

    def make(rng: Random) -> Case:
        seed = rng.getrandbits(32)

        def act(folder: Path) -> str:
            calls = _calls(Random(seed), 2)
            expected = _expected(calls)
            found = forked(lambda: [bits(ways[how](made(*call[:3]))(*call[3:])) for call in calls]).value
            return _same(found, expected)

        return Case(how, f"seed {seed}", act)

    return make


def blas(rng: Random) -> Case:
    """Overlap runs that hold BLAS to one thread: the user's number is back afterwards."""
    seed = rng.getrandbits(32)

    def act(folder: Path) -> str:
        calls = [(2, "cpu", 2, n, 0) for n in Random(seed).choices([1000, 20_000, 100_000], k=16)]
        expected = _expected(calls)

        def run() -> list[str]:
            from threadpoolctl import threadpool_info, threadpool_limits

            threadpool_limits(3)
            estimators = [made(*call[:3]) for call in calls]
            with ThreadPoolExecutor(4) as executor:
                found = list(
                    executor.map(lambda pair: bits(pair[0](*pair[1][3:])), zip(estimators, calls, strict=True))
                )
            left = sorted({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
            return [*found, str(left)]

        *found, left = forked(run).value
        if left != "[3]":
            raise Lost(f"leaves BLAS with {left} threads, not 3")
        return _same(found, expected)

    return Case("BLAS threads afterwards", f"seed {seed}", act)


def cases(rng: Random) -> Iterator[Case]:
    """Return each kind in turn."""
    makers = [
        threads(shared=True),
        threads(shared=False),
        fork,
        interrupted,
        blas,
        *map(copied, ("pickle", "deepcopy")),
    ]
    return in_turn(
        rng,
        [
            *makers,
            runs(same=True),
            runs(same=False),
            *map(processes, ("empty at first", "cleared", "limited", "killed")),
        ],
    )
