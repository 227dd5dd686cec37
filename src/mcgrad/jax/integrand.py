"""Integrands written in jax.numpy; JAX is imported where one is made."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from mcgrad.errors import ParameterError
from mcgrad.inputs.framework import FrameworkFunction
from mcgrad.system.packages import framework


class JaxFunction(FrameworkFunction):
    """A function of JAX's arrays, that takes NumPy arrays and Tracers, too; made by `from_jax`."""

    maker = "from_jax"

    def own(self, value: Any) -> bool:
        """Whether a value is an array of JAX, or a tracer of its transformations."""
        import jax

        return isinstance(value, jax.Array)

    def replayed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what f computes, of NumPy arrays and Tracers."""
        from mcgrad.jax.jaxprs.evaluate import replay

        return replay(self.function, args, kwargs)


def from_jax(f: Callable[..., Any]) -> JaxFunction:
    """Make an integrand of a function that is written in jax.numpy.

    Parameters
    ----------
    f : callable
        ``f(z, **params, **data)`` of one draw, as in plain NumPy, but of JAX's arrays; jitted or not. It may use
        `jax.numpy`, `jax.nn`, `jax.scipy`, `jax.lax`, `jax.vmap` and `jax.grad`.

    Returns
    -------
    callable
        An integrand for ``mg.estimate``, ``mg.elbo`` and all others that take one. Of JAX's arrays it computes what f
        does; `from_jax` may decorate f.

    Raises
    ------
    ParameterError
        f is no function, or JAX is not installed.
    TraceError
        When it is traced: a primitive of JAX that has no counterpart, with the line of f that called it.

    Notes
    -----
    Each time mcgrad traces it, f becomes a jaxpr, of float64 arrays whatever JAX's default is, whose equations are
    evaluated by NumPy's functions on what stands for the draws. So f becomes part of the kernel, JAX computes nothing
    while it runs, and mcgrad differentiates it: rules of `jax.custom_jvp` and `jax.custom_vjp` are not used, and
    `jax.lax.stop_gradient` is. Arrays that f reads besides its arguments are constants; integers and booleans in
    ``data=`` reach f as NumPy arrays, so that they may index. Which primitives there are is in docs/frameworks.md.

    Examples
    --------
    >>> f = mg.from_jax(lambda z, x: jax.nn.log_sigmoid(x @ z).sum())
    >>> mg.estimate(f, mg.Normal(np.zeros(3), 1.0), n=10_000, data={"x": x})
    """
    if find_spec("jax") is None:
        raise ParameterError("f", "a function for JAX, which is not installed", framework("jax"))
    return JaxFunction(f)
