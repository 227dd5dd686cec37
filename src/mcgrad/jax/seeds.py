"""Seeds from keys of `jax.random`, and from integers: two words of 32 bits, the higher first."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mcgrad import reals
from mcgrad.errors import ParameterError, shown

ACCEPTED = "a key, jax.random.key(0), or an integer from 0 to 2**64 - 1; of several keys one each by jax.vmap"


def words(key: Any) -> Any:
    """Return the words of a seed.

    Parameters
    ----------
    key : key of jax.random, or int, or integer array of no axes
        ``jax.random.key(s)``, of JAX's default generator, has the seed s. Of generators whose keys have more than two
        words these are drawn from the key. A traced integer keeps its low 64 bits.

    Returns
    -------
    uint32 array of shape (2,)
    """
    dtype = getattr(key, "dtype", None)
    if dtype is None:
        try:
            seed = reals.count("key", key, 0, (1 << 64) - 1)
        except ParameterError:
            return _refuse(key)
        return np.array([seed >> 32, seed & 0xFFFFFFFF], np.uint32)
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return _of_key(key) if key.shape == () else _refuse(key)
    if dtype == np.uint32 and key.shape == (2,):
        return jnp.asarray(key)
    if dtype == np.uint32 and key.shape == (4,):
        return _of_key(jax.random.wrap_key_data(key))
    if key.shape != () or not jnp.issubdtype(dtype, jnp.integer):
        return _refuse(key)
    if isinstance(key, jax.core.Tracer):
        high = key >> 32 if dtype.itemsize == 8 else jnp.zeros((), dtype)
        return jnp.stack([high, key]).astype(np.uint32)
    return words(int(key))


def _of_key(key: Any) -> Any:
    data = jax.random.key_data(key)
    return data if data.shape == (2,) else jax.random.bits(key, (2,), np.uint32)


def _refuse(key: Any) -> Any:
    raise ParameterError("key", shown(key), ACCEPTED)
