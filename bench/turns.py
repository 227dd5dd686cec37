"""Peers in turns, each in a process of its own: their thread pools, which wait for work in loops, take no time from
one another. For each pair of mcgrad and a peer first the one runs for a while, then the other, over and over, so what
else the machine does meets both; a ratio is the median over these pairs of turns.
"""

import argparse
import datetime
import importlib
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from compare import RESULTS, device

TURN = 0.3  # seconds of calls, or one call


class Comparison(NamedTuple):
    """What is measured of each peer: a function of threads gives its calls, some of which may be faster than others.

    A call takes a seed. That of "mcgrad", which comes first, returns an estimate, those of the others a pair, the
    second of which has the gradients in the order of `paths`.
    """

    title: str
    draws: int  # of all rows, or what else is counted
    paths: tuple[str, ...]
    peers: dict[str, Callable]


def seconds(call, seed=0):
    """How long a call takes."""
    start = time.perf_counter()
    call(seed)
    return time.perf_counter() - start


def turn(call, seed):
    """The least time of calls, made for a while."""
    end, taken = time.perf_counter() + TURN, [seconds(call, seed)]
    while time.perf_counter() < end:
        taken.append(seconds(call, seed + len(taken)))
    return min(taken)


def serve(pipe, module, case, name, threads):
    """Send the gradients of a peer of CASES[case] in a module, or why there are none; then a time for each seed."""
    comparison = importlib.import_module(module).CASES[case]
    try:
        calls = comparison.peers[name](threads)
        found, *_ = [call(1) for call in calls]
        if name == "mcgrad":
            answer = [(found.grad[path], found.grad_stderr[path]) for path in comparison.paths]
        else:
            answer = [np.asarray(x) for x in found[1]]
        best = min(calls, key=lambda call: turn(call, 0))
    except Exception as error:  # a peer that cannot run here is left out
        pipe.send(f"{type(error).__name__}: {str(error).splitlines()[0]:.80}")
        return
    pipe.send(answer)
    for seed in iter(pipe.recv, None):
        pipe.send(turn(best, seed))


class Peer:
    """A process that runs the fastest call of a peer."""

    def __init__(self, *which):
        processes = multiprocessing.get_context("spawn")
        self._pipe, other = processes.Pipe()
        self._process = processes.Process(target=serve, args=(other, *which), daemon=True)
        self._process.start()
        other.close()
        self.gradients = self._answer()

    def time(self, seed):
        """The least time of a call in a turn, or why there is none."""
        self._pipe.send(seed)
        return self._answer()

    def _answer(self):
        try:
            return self._pipe.recv()
        except EOFError:
            return "its process ended"

    def close(self):
        if self._process.is_alive():
            self._pipe.send(None)
        self._process.join()


def measure(module, case, comparison, threads, limit, unit):
    """Return pairs of times, mcgrad's and the peer's, by peer; some seconds for each; and print what they say."""
    ours, pairs = Peer(module, case, "mcgrad", threads), {}
    if isinstance(ours.gradients, str):
        raise RuntimeError(f"mcgrad: {ours.gradients}")
    for name in [*comparison.peers][1:]:
        peer = Peer(module, case, name, threads)
        found = peer.gradients if isinstance(peer.gradients, str) else _in_turns(ours, peer, limit)
        peer.close()
        if isinstance(found, str):
            print(f"  {name:14}left out: {found}", flush=True)
            continue
        pairs[name] = found
        rate, ratio = comparison.draws / min(found[:, 1]), np.median(found[:, 1] / found[:, 0])
        apart = _apart(peer.gradients, ours.gradients)
        print(
            f"  {name:14}{rate:14,.0f} {unit} a second   (mcgrad: {ratio:.2f} times; gradients differ by "
            f"{apart:.2f} standard errors)",
            flush=True,
        )
    ours.close()
    rate = comparison.draws / min(min(found[:, 0]) for found in pairs.values())
    print(f"  {'mcgrad':14}{rate:14,.0f} {unit} a second", flush=True)
    return pairs


def _in_turns(ours, peer, limit):
    """Pairs of times, or why there are none."""
    end, found = time.perf_counter() + limit, []
    while time.perf_counter() < end or len(found) < 3:
        pair = ours.time(1000 * len(found)), peer.time(1000 * len(found))
        if isinstance(pair[1], str):
            return pair[1]
        found.append(pair)
    return np.array(found)


def _apart(found, ours):
    """The scale of the differences of gradients, in standard errors: some 1.4 where many are right."""
    z = [np.ravel((x - mean) / error) for x, (mean, error) in zip(found, ours, strict=True)]
    return np.median(np.abs(np.concatenate(z))) / 0.6745


def table(found, cases, unit):
    """Markdown: the best rate of each peer, and by how much mcgrad is faster."""
    names = list(dict.fromkeys(name for pairs in found.values() for name in pairs))
    lines = [f"| {unit} a second | {' | '.join(['mcgrad', *names])} |", "|---|" + "---:|" * (len(names) + 1)]
    for case, pairs in found.items():
        draws, cells = cases[case].draws, []
        for name in names:
            ratio = f" ({np.median(pairs[name][:, 1] / pairs[name][:, 0]):.2f})" if name in pairs else ""
            cells.append(f"{draws / min(pairs[name][:, 1]):.3g}{ratio}" if name in pairs else "-")
        ours = min(min(times[:, 0]) for times in pairs.values())
        lines.append(f"| {case}: {cases[case].title} | {draws / ours:.3g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def save(found, threads, cases, name, unit):
    """Write the table and the times."""
    today = datetime.date.today().isoformat()
    head = f"{device()}; {threads} threads; float32; {today}"
    note = "In brackets: by how much mcgrad, with all standard errors, is faster, the median over pairs of turns."
    text = f"{head}\n\n{note}\n\n{table(found, cases, unit)}\n"
    (RESULTS / f"{name}-{today}.md").write_text(text)
    times = {
        case: {
            peer: {
                side: {"best_s": x.min(), "median_s": float(np.median(x)), "turns": len(x)}
                for side, x in zip(("mcgrad", "peer"), taken.T, strict=True)
            }
            | {"ratio": float(np.median(taken[:, 1] / taken[:, 0]))}
            for peer, taken in pairs.items()
        }
        for case, pairs in found.items()
    }
    (RESULTS / f"{name}-{today}.json").write_text(json.dumps({"head": head, "pairs": times}, indent=1) + "\n")


def run(module, description, cases, unit, threads, limit, environment=lambda threads: {}):
    """The command of a module with CASES.

    Parameters
    ----------
    module : str
        Its name, by which the processes import it.
    description : str
    cases : dict of str to Comparison
    unit : str
        Of `draws`.
    threads, limit
        Defaults: threads of a peer, seconds for each pair.
    environment : callable
        Environment variables of the processes besides those that limit threads, by the number of threads.
    """
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--threads", type=int, default=threads)
    options.add_argument("--seconds", type=float, default=limit, help="of turns for each pair of mcgrad and a peer")
    options.add_argument("--only", nargs="+", choices=list(cases), default=list(cases))
    options.add_argument("--save", action="store_true", help="write to bench/results/")
    given = options.parse_args()
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(given.threads))
    for variable, value in {**limits, **environment(given.threads)}.items():
        os.environ.setdefault(variable, value)
    found = {}
    for case in given.only:
        print(f"{case}: {cases[case].title}, {given.threads} threads", flush=True)
        found[case] = measure(module, case, cases[case], given.threads, given.seconds, unit)
    if given.save:
        save(found, given.threads, cases, module, unit)
