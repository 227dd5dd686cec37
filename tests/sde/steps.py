"""A grid of times, motions, a drift and a diffusion, and a loop by hand over the steps."""

import numpy as np

T = 6
TIMES = np.array([0.0, 0.1, 0.25, 0.3, 0.7, 0.9, 1.2])
STEPS = np.diff(TIMES)
Z = np.random.default_rng(3).standard_normal((T, 2))
X0 = np.array([1.0, 2.0])
ROWS = np.array([[0.3, 0.1], [-0.2, 0.4]])
CORRELATION = np.array([[1.0, -0.6], [-0.6, 1.0]])


def drift(t, x):
    return 0.3 * np.cos(t) * (1.5 - x)


def diffusion(t, x):
    return 0.2 * (1.0 + t) * x


def by_hand(start, z, step):
    found = [start]
    for t, dt, each in zip(TIMES, STEPS, z, strict=False):
        found.append(step(t, dt, found[-1], np.sqrt(dt) * each))
    return np.stack(found)
