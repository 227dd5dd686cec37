"""What tests of pickles share: ways of an object to another process, and back to a copy, and a small problem."""

import copy
import pickle

import numpy as np
from numba import cloudpickle

import mcgrad as mg
from mcgrad import tree

N, SEED = 512, 3
LOC = np.linspace(-0.5, 0.5, 3)
TRIPS = {
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "protocol 2": lambda x: pickle.loads(pickle.dumps(x, 2)),
    "cloudpickle": lambda x: pickle.loads(cloudpickle.dumps(x)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def log_joint(z):
    return -np.sum(z**2)


def q():
    return mg.Normal(LOC, 1.5)


def make(f, q=None, backend="numpy", **more):
    return mg.Estimator(f, q, backend=backend, **more)


def bits(estimate):
    both = [*tree.flatten(estimate.grad).values(), *tree.flatten(estimate.grad_stderr).values()]
    return b"".join(np.asarray(x).tobytes() for x in (estimate.value, estimate.stderr, *both))
