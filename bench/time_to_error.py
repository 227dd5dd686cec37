"""Seconds to an error of the gradient of 1e-3 and 1e-4, on the six problems of `problems.py` and a digital option.

    python bench/time_to_error.py [--problems scalar asian] [--peers mcgrad jax torch drjit] [--seconds 2] [--save]

The error is the norm of the standard errors of all components of the gradient over the norm of the gradient, in
float32. Plain Monte Carlo takes (error of one draw / tolerance)^2 draws, whoever draws them: the error of one draw is
mcgrad's of 2^20, the time of a draw is measured, for mcgrad and for each peer in turns. What mcgrad offers besides runs
at n = 2^k until the error, by four seeds, is within the tolerance; its time is that of the fastest of some calls of as
many draws, each with a seed of its own, tables of scrambles included. "JAX, SciPy" is randomised quasi-Monte Carlo as
one writes it without mcgrad: 16 scramblings by `scipy.stats.qmc.Sobol`, the inverse distribution function and the
derivatives in a jitted function of JAX.
"""

import argparse
import datetime
import importlib.util
import itertools
import json
import math
import time

import numpy as np
from compare import RESULTS, Peer, device
from problems import HORIZON, STEPS, STRIKE, Problem, problems

import mcgrad as mg

TOLERANCES = (1e-3, 1e-4)
SEEDS, CALLS = 4, 5
BY_HAND = "JAX, SciPy"
LONGEST = 0.7  # seconds of one call, beyond which draws and times are extrapolated, by the slope of the last doublings
TIMES = np.arange(1, STEPS + 1) * (HORIZON / STEPS)


def asian_by_bridge(z, spot, vol, rate):
    """The Asian option of `problems.py`, by a Brownian bridge."""
    path = spot * np.exp((rate - vol**2 / 2) * TIMES + vol * mg.paths.brownian(z, TIMES, "bridge"))
    return np.exp(-rate * HORIZON) * np.maximum(np.mean(path) - STRIKE, 0)


def geometric(z, spot, vol, rate):
    """The call on the geometric mean of the same path."""
    path = (rate - vol**2 / 2) * TIMES + vol * mg.paths.brownian(z, TIMES, "bridge")
    return np.exp(-rate * HORIZON) * np.maximum(spot * np.exp(np.mean(path)) - STRIKE, 0)


def normal_cdf(x):
    """Of the standard normal."""
    from scipy.special import ndtr

    return ndtr(x)


def geometric_mean(spot, vol, rate):
    """The mean of `geometric`, which is log-normal (Kemna and Vorst 1990)."""
    mean = np.log(spot) + (rate - vol**2 / 2) * np.mean(TIMES)
    deviation = vol * np.sqrt(np.mean(np.minimum(TIMES[:, None], TIMES)))
    d = (mean - np.log(STRIKE)) / deviation
    forward = np.exp(mean + deviation**2 / 2)
    return np.exp(-rate * HORIZON) * (forward * normal_cdf(d + deviation) - STRIKE * normal_cdf(d))


def digital_call(z, spot, vol, rate):
    last = spot * np.exp(np.sum((rate - vol**2 / 2) * HORIZON / 12 + vol * np.sqrt(HORIZON / 12) * z))
    return np.exp(-rate * HORIZON) * np.where(last > STRIKE, 1.0, 0.0)


def digital():
    """A digital call by twelve steps: its integrand jumps, so that its gradient is by differences."""
    q, params = {"loc": np.zeros(12), "scale": np.ones(12)}, {"spot": 100.0, "vol": 0.2, "rate": 0.05}
    return Problem("digital", digital_call, q, tuple(params), {"float32": 2**20}, params)


def all_problems():
    return {name: p for name, p in problems().items() if name != "chain100"} | {"digital": digital()}


def estimator(problem, threads, f=None, **options):
    """An Estimator of the gradient of a problem, by another integrand where one is given."""
    q, params, data = problem.cast("float64")
    family = mg.MultivariateNormal if "scale_tril" in q else mg.Normal
    method = "difference" if problem.name == "digital" else "pathwise"
    return mg.Estimator(
        f or problem.f,
        family(**q),
        params={name: float(x) for name, x in params.items()},
        data=data,
        wrt=problem.wrt,
        method=method,
        dtype="float32",
        backend="cpu",
        threads=threads,
        **options,
    )


def relative_error(est):
    grads, errors = (mg.tree.flatten(x) for x in (est.grad, est.grad_stderr))
    norms = [math.sqrt(sum(float(np.sum(np.square(v))) for v in x.values())) for x in (errors, grads)]
    return norms[0] / norms[1]


def variants(problem):
    """What mcgrad offers besides plain draws: name, integrand, options."""
    sobol = {"sampler": "sobol"}
    found = [("sobol", None, sobol), ("antithetic", None, {"antithetic": True})]
    if problem.name == "asian":
        control = {"control": mg.Control(geometric, mean=geometric_mean)}
        found += [
            ("sobol, bridge", asian_by_bridge, sobol),
            ("control geometric", asian_by_bridge, control),
            ("sobol, bridge, control geometric", asian_by_bridge, sobol | control),
        ]
    elif problem.name != "digital":
        found += [
            ("control quadratic", None, {"control": "quadratic"}),
            ("sobol, control quadratic", None, sobol | {"control": "quadratic"}),
        ]
    return found


def timed(run, n):
    """The least time of some calls, each with a seed of its own."""
    times = []
    for seed in range(CALLS):
        start = time.perf_counter()
        run(n, 1000 + seed)
        times.append(time.perf_counter() - start)
    return min(times)


def to_tolerances(run, error):
    """Return, for each tolerance, the draws that it takes and the seconds; extrapolated where calls take `LONGEST`.

    Parameters
    ----------
    run : callable
        (n, seed) -> what `error` takes.
    error : callable
        Returns the relative error of a run.
    """
    n, found, errors, took = 2**8, {}, [], 0.0
    run(n, 0)
    while len(found) < len(TOLERANCES) and took < LONGEST:
        run(n, SEEDS)  # so many draws may take another kernel, which is compiled first
        start = time.perf_counter()
        one = math.sqrt(sum(error(run(n, seed)) ** 2 for seed in range(SEEDS)) / SEEDS)
        took = (time.perf_counter() - start) / SEEDS
        errors.append((n, one))
        for tolerance in TOLERANCES:
            if one <= tolerance and tolerance not in found:
                found[tolerance] = n, timed(run, n), False
        n *= 2
    for tolerance in TOLERANCES:
        if tolerance not in found:
            (few, large), (many, small) = errors[max(len(errors) - 4, 0)], errors[-1]
            slope = math.log(large / small) / math.log(many / few)
            needed = many * (small / tolerance) ** (1 / max(slope, 0.25))
            found[tolerance] = needed, timed(run, many) * needed / many, True
    return found


def by_hand(problem, threads):
    """Randomised quasi-Monte Carlo by SciPy and JAX: a function (n, seed) -> means of 16 scramblings."""
    import jax
    import jax.numpy as jnp
    from jax.scipy.special import ndtri
    from peers.jax_peer import RULES
    from scipy.stats import qmc

    jax.config.update("jax_enable_x64", True)
    q, params, data = problem.cast("float32")
    wrt = {name: jnp.asarray((q | params)[name]) for name in problem.wrt}
    rule = RULES["asian_call_matmul" if problem.name == "asian" else problem.f.__name__]

    def mean(wrt, u):
        given = {**q, **params, **wrt}
        loc = given.pop("loc")
        scale = given.pop("scale_tril", None)
        eps = ndtri(jnp.clip(u.astype(jnp.float32), 1e-7, 1 - 1e-7))
        z = loc + (eps @ jnp.tril(scale).T if scale is not None else given.pop("scale") * eps)
        z = z.reshape(len(u), -1)
        return jnp.mean(jax.vmap(lambda one: rule(one, **given, **data))(z))

    gradient = jax.jit(lambda u: jax.vmap(lambda one: jax.grad(mean)(wrt, one))(u))

    def run(n, seed):
        m = int(math.log2(n // 16))
        rngs = np.random.default_rng(seed).spawn(16)
        u = np.stack([qmc.Sobol(problem.noise, rng=rng).random_base2(m) for rng in rngs])
        return np.concatenate([np.asarray(g).reshape(16, -1) for g in jax.tree.leaves(gradient(u))], axis=1)

    return run


def error_of_means(means):
    errors = means.std(axis=0, ddof=1) / 4
    return float(np.linalg.norm(errors) / np.linalg.norm(means.mean(axis=0)))


def measure(problem, crew, seconds, threads):
    """Draws and seconds of every way to each tolerance."""
    plain = estimator(problem, threads)
    one = relative_error(plain(2**20, 7)) * 2**10  # of a draw
    rows, times = [], {}
    able = [peer for peer in crew if peer.process.poll() is None and problem.name != "digital"]  # one may have crashed
    peers = [peer for peer in able if "value" in peer.ask("prepare", problem=problem.name, dtype="float32")]
    for k in range(4):
        for peer in peers:
            done = peer.ask("round", problem=problem.name, dtype="float32", seconds=seconds / 4, seed=1000 * k)
            times.setdefault(peer.name, []).extend(done["times"])
    for peer in peers:
        peer.ask("drop", problem=problem.name, dtype="float32")
    per_draw = {name: min(found) / problem.draws["float32"] for name, found in times.items()}
    per_draw.setdefault("mcgrad", timed(plain, 2**20) / 2**20)
    for name, each in per_draw.items():
        found = {t: ((one / t) ** 2, (one / t) ** 2 * each, True) for t in TOLERANCES}
        rows.append(row(problem, "mcgrad, plain" if name == "mcgrad" else name, found))
    for name, f, options in variants(problem):
        try:
            made = estimator(problem, threads, f, **options)
            found = to_tolerances(made, relative_error)
        except (mg.ParameterError, mg.TraceError) as error:
            print(f"  {name}: {error}", flush=True)
            continue
        rows.append(row(problem, f"mcgrad, {name}", found))
    if problem.name != "digital" and importlib.util.find_spec("jax"):
        rows.append(row(problem, BY_HAND, to_tolerances(by_hand(problem, threads), error_of_means)))
    return rows


def row(problem, name, found):
    text = ", ".join(f"{t:g}: {s:.3g} s by {n:.3g} draws{'*' * far}" for t, (n, s, far) in found.items())
    print(f"  {name:36}{text}", flush=True)
    return {"problem": problem.name, "way": name, "found": {str(t): list(x) for t, x in found.items()}}


def table(rows):
    """Markdown: milliseconds to each tolerance, and by how much the best of mcgrad's beats each kind of the others."""
    lines = ["| problem | way | ms to 1e-3 | ms to 1e-4 | draws to 1e-4 |", "|---|---|---:|---:|---:|"]
    gains = ["| problem | best of mcgrad | over the best library | over JAX, SciPy |", "|---|---|---:|---:|"]
    for name, group in itertools.groupby(rows, key=lambda x: x["problem"]):
        found = [*group]
        seconds = {each["way"]: each["found"][str(TOLERANCES[-1])][1] for each in found}
        for each in found:
            (_, fast, far), (n, slow, very) = (each["found"][str(t)] for t in TOLERANCES)
            cells = f"{fast * 1e3:.3g}{'*' * far} | {slow * 1e3:.3g}{'*' * very} | {n:.2g}"
            lines.append(f"| {name} | {each['way']} | {cells} |")
        best = min((way for way in seconds if way.startswith("mcgrad")), key=seconds.__getitem__)
        hand = seconds.get(BY_HAND)
        libraries = {way: x for way, x in seconds.items() if not way.startswith("mcgrad") and way != BY_HAND}
        rival = min(libraries, key=libraries.__getitem__, default="")
        cells = (
            f"{libraries[rival] / seconds[best]:.3g} ({rival})" if rival else "",
            hand and f"{hand / seconds[best]:.3g}",
        )
        gains.append(f"| {name} | {best.removeprefix('mcgrad, ')} | {cells[0]} | {cells[1] or ''} |")
    return "\n".join(
        [
            "Times faster to 1e-4:",
            "",
            *gains,
            "",
            *lines,
            "",
            "\\* extrapolated from the error and the time of fewer draws",
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", choices=list(all_problems()), default=list(all_problems()))
    parser.add_argument("--peers", nargs="*", default=["mcgrad", "drjit", "torch", "jax"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2, help="of timing for each peer and problem")
    parser.add_argument("--save", action="store_true", help="write a table and a JSON file to bench/results/")
    args = parser.parse_args()
    crew = [Peer(name, args.threads) for name in args.peers]
    for peer in crew:
        print(f"  {peer.name:12}{peer.version or 'unavailable: ' + peer.unavailable}")
    crew, rows = [peer for peer in crew if not peer.unavailable], []
    for name in args.problems:
        print(name, flush=True)
        rows += measure(all_problems()[name], crew, args.seconds, args.threads)
    for peer in crew:
        peer.close()
    print("\n" + table(rows))
    if args.save:
        today = datetime.date.today().isoformat()
        head = f"{device()}; {args.threads} threads; {'; '.join(peer.version for peer in crew)}; {today}"
        result = {"device": device(), "threads": args.threads, "date": today, "rows": rows}
        (RESULTS / f"time-to-error-{today}.json").write_text(json.dumps(result, indent=1) + "\n")
        (RESULTS / f"time-to-error-{today}.md").write_text(f"{head}\n\n{table(rows)}\n")


if __name__ == "__main__":
    main()
