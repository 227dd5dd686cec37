"""Are the peers right? z-scores against a float64 reference, itself held against finite differences of f."""

import numpy as np
from peers.numpy_naive import per_draw

DRAWS = 2**17  # of the reference


def finite_difference_error(problem, draws=8, step=1e-6):
    """Largest disagreement of the hand-written gradients with central differences along a random direction."""
    rng = np.random.default_rng(2)
    noise = rng.standard_normal((draws, problem.noise))
    theta = {k: np.asarray((problem.q | problem.params)[k], float) for k in problem.wrt}
    way = {k: np.tril(w) if k == "scale_tril" else w for k, v in theta.items() for w in [rng.standard_normal(v.shape)]}

    def f(sign, eps):
        moved = problem.q | problem.params | {k: theta[k] + sign * step * way[k] for k in theta}
        spread = moved["scale_tril"] @ eps if "scale_tril" in problem.q else np.multiply(moved["scale"], eps)
        z = (moved["loc"] + spread).reshape(np.shape(problem.q["loc"]))
        return problem.f(z, **{k: moved[k] for k in problem.params}, **problem.data)

    slopes = np.array([(f(1, eps) - f(-1, eps)) / (2 * step) for eps in noise])
    value, grads = per_draw(problem, noise)
    ours = sum((g.reshape(draws, -1) @ np.reshape(way[k], -1)) for k, g in grads.items())
    values = np.array([f(0, eps) for eps in noise])
    return max(np.max(np.abs(ours - slopes) / (1 + np.abs(slopes))), np.max(np.abs(value - values)))


def reference(problem):
    """Mean and variance of value and gradient over float64 draws, by name ("" is the value)."""
    rng, size, total = np.random.default_rng(3), 2**11, {}
    for _ in range(DRAWS // size):
        value, grads = per_draw(problem, rng.standard_normal((size, problem.noise)))
        for name, x in ({"": value} | grads).items():
            total[name] = total.get(name, 0) + np.array([x.sum(0), (x * x).sum(0)])
    return {k: (s / DRAWS, q / DRAWS - (s / DRAWS) ** 2) for k, (s, q) in total.items()}


def largest_z(problem, dtype, answer, expected):
    """Largest z-score over all components of one answer of a peer."""
    value, grads = answer
    worst = 0.0
    for name, (mean, variance) in expected.items():
        got = np.asarray(grads[name] if name else value, np.float64).reshape(np.shape(mean))
        if name == "scale_tril":
            keep = np.tril_indices(len(mean))
            got, mean, variance = got[keep], mean[keep], variance[keep]
        stderr = np.sqrt(variance * (1 / problem.draws[dtype] + 1 / DRAWS))
        worst = max(worst, float(np.max(np.abs(got - mean) / stderr)))
    return worst
