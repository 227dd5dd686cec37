"""Loop nests as a Numba function over chunks of draws."""
