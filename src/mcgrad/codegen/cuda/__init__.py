"""Loop nests, or straight code on registers, as numba-cuda kernels."""
