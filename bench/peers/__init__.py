"""One module a peer. Each has `make(problem, dtype, threads) -> callable(seed) -> (value, gradients by name)`."""

import importlib

MODULES = {
    "mcgrad": "mcgrad_peer",
    "drjit": "drjit_peer",
    "drjit-hand": "drjit_hand_peer",  # derivatives written by hand; the Asian option alone
    "torch": "torch_peer",
    "jax": "jax_peer",
    "numpy": "numpy_naive",
}


class UnavailableError(ImportError):
    """This peer cannot run here: a package is missing, or it does not do this problem."""


def load(name):
    """The module of a peer; `UnavailableError`, with the reason, where its packages do not import."""
    try:
        return importlib.import_module(f"peers.{MODULES[name]}")
    except (ImportError, OSError, RuntimeError) as error:
        raise UnavailableError(f"{name}: {error}") from error
