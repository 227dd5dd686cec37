"""The remedies that errors name for primitives of JAX that cannot be traced."""

from __future__ import annotations

KEYS = "random numbers belong in q, where each draw has its own: mg.Joint(z=q, noise=mg.Normal(0.0, 1.0))"
VALUES = (
    "in mg.from_jax: draws, parameters and float data have no value while f is traced; use jnp.where or lax.cond for "
    "if, and give what shapes or indices depend on as integers in data="
)
MATRIX = "for a matrix that no draw changes compute it before, and give it in data="
PLACES = "write it with jnp.where and a sum over slices"

REMEDIES: dict[str, str] = {
    "approx_top_k": "use jax.lax.top_k",
    **dict.fromkeys(("reduce_window", "select_and_scatter_add", "select_and_gather_add"), PLACES),
    **dict.fromkeys(("eig", "schur", "hessenberg", "householder_product"), MATRIX),
    "qr": "the triangular factor is jnp.linalg.cholesky(x.T @ x, upper=True), but for the signs of its rows",
    **dict.fromkeys(("tridiagonal_solve", "tridiagonal"), "solve by jnp.linalg.solve, or with two calls of lax.scan"),
    **dict.fromkeys(("pure_callback", "io_callback", "debug_callback"), "leave the callback out"),
    **dict.fromkeys(("shift_left", "shift_right_logical", "shift_right_arithmetic", "population_count", "clz",
                     "bitcast_convert_type"), "the bits of a traced number are not available"),
    "fft": "use a matrix of sines and cosines, given in data=",
    "igamma": "it has no counterpart in mcgrad",
}  # fmt: skip


def remedy(name: str) -> str:
    """Say what to write instead of a primitive."""
    return REMEDIES.get(name, "it is not among the supported primitives, which docs/frameworks.md lists")
