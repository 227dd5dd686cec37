"""Many functions of JAX: their values by JAX in one compilation, and what they are traced to held against these."""

import numpy as np
import pytest

import mcgrad as mg
from tests.frameworks.derivatives import computed, difference, slope

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def joined(f):
    """All numbers that a function returns, in one vector."""
    return lambda a: jnp.concatenate([jnp.ravel(jnp.asarray(x, float)) for x in jax.tree.leaves(f(a))])


def values_of(functions):
    """What JAX computes for pairs of a function and its argument, by name."""
    with jax.enable_x64(True):
        found = jax.jit(
            lambda given: {name: joined(f)(given[name]) for name, (f, _) in functions.items()}, compiler_options=QUICKLY
        )({name: jnp.asarray(x) for name, (_, x) in functions.items()})
    return {name: np.asarray(x) for name, x in found.items()}


def agrees(f, x, right, rtol, atol):
    """Hold what a function is traced to against its values."""
    np.testing.assert_allclose(computed(mg.from_jax(joined(f)), x), right, rtol=rtol, atol=atol)


def has_the_derivative_of_its_values(f, x, size, along):
    """Hold a derivative along a direction against a difference, of all numbers with weights."""
    ours, weights = mg.from_jax(joined(f)), np.cos(np.arange(size))

    def weighted(a):
        return np.sum(weights * ours(a))

    assert np.sum(slope(weighted, x) * along) == pytest.approx(difference(weighted, x, along), rel=1e-6, abs=1e-7)
