"""Dr.Jit, the Asian option with its derivative written by hand: one symbolic loop over the steps, three extra sums."""

import numpy as np
from problems import HORIZON, STEPS, STRIKE

from peers import UnavailableError
from peers.drjit_peer import KINDS, VERSION, dr, generator, pair, plain
from peers.tuned import best

__all__ = ["VERSION", "make", "variants"]


def variants(problem, dtype):
    return [{"lanes": lanes} for lanes in (2**14, 2**12, 2**16)]


def make(problem, dtype, threads, variant=None):
    if problem.name != "asian":
        raise UnavailableError("drjit-hand: only the Asian option is written by hand")
    dr.set_thread_count(threads)
    lanes = (variant or best("drjit-hand", problem, dtype, threads, variants(problem, dtype)))["lanes"]
    real, n, dt = KINDS[dtype][1], problem.draws[dtype], HORIZON / STEPS

    def path(seed, spot, vol, rate):
        """The sums over the paths of the lanes' `turns` paths each: value and the three gradients."""
        drift, spread, discount = (rate - vol * vol / 2) * dt, vol * np.sqrt(dt), dr.exp(-rate * HORIZON)

        def two_steps(i, rng, time, brownian, log_path, total, total_time, total_brownian, drift, spread):
            for e in pair(rng, real):
                time, brownian = time + dt, brownian + e
                log_path = log_path + dr.fma(spread, e, drift)
                growth = dr.exp(log_path)
                total = total + growth
                total_time = dr.fma(growth, time, total_time)
                total_brownian = dr.fma(growth, brownian, total_brownian)
            return i + 1, rng, time, brownian, log_path, total, total_time, total_brownian, drift, spread

        zeros = [dr.zeros(real, lanes) for _ in range(5)]
        state = (plain.UInt32(0), generator(lanes, seed), dr.zeros(real), *zeros, drift, spread)
        state = dr.while_loop(state, lambda i, *_: i < STEPS // 2, two_steps)
        mean, mean_time, mean_brownian = (x / STEPS for x in state[5:8])
        alive = dr.select(spot * mean > STRIKE, discount, 0)
        value = alive * (spot * mean - STRIKE)
        in_rate = alive * spot * mean_time - HORIZON * value
        in_vol = alive * spot * (np.sqrt(dt) * mean_brownian - vol * mean_time)
        return value, alive * mean, in_vol, in_rate

    def run(seed):
        params = {name: dr.opaque(real, float(x)) for name, x in problem.params.items()}
        total = np.zeros(4)
        for k in range(n // lanes):
            columns = path(seed * (n // lanes) + k, **params)
            dr.eval(columns)
            sums = [dr.sum(x) for x in columns]
            dr.eval(sums)
            total += [x[0] for x in sums]
        value, *grads = total / n
        return value, dict(zip(("spot", "vol", "rate"), grads, strict=True))

    return run
