"""The expectation that most tests of JAX differentiate, and its estimate without JAX."""

import jax.numpy as jnp
import numpy as np

import mcgrad as mg
import mcgrad.jax

N = 500


def f(z, *, w, x):
    return np.sum(w * np.sin(z) + x * z**2)


PHI = {"loc": np.array([0.1, 0.2, 0.3]), "scale": np.array([1.0, 2.0, 0.5]), "w": np.array([1.5, -1.0, 0.5])}
X = np.array([0.3, 0.1, 0.2])


def value(phi, key, x=X, **options):
    """The expectation, as a function of all its parameters; by the reference, which compiles nothing."""
    own = {"loc": phi["loc"], "scale": phi["scale"]}
    x = jnp.asarray(x, phi["loc"].dtype)
    return mcgrad.jax.expectation(
        f, mg.Normal, N, key, params={"w": phi["w"]}, data={"x": x}, **own, **{"backend": "numpy", **options}
    )


def phi(dtype="float32", **changes):
    return {name: jnp.asarray(x, dtype) for name, x in {**PHI, **changes}.items()}


def without_jax(seed, dtype="float32", backend="numpy", **changes):
    """The estimate of `mg.estimate` at the same parameters and seed."""
    own = {name: np.asarray(x, dtype) for name, x in {**PHI, **changes}.items()}
    q = mg.Normal(own["loc"], own["scale"])
    return mg.estimate(
        f, q, N, params={"w": own["w"]}, data={"x": X.astype(dtype)}, seed=seed, dtype=dtype, backend=backend
    )
