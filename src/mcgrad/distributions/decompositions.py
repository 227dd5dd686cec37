"""Parts of decompositions, by which measure-valued gradients are estimated: of the derivative of a density.

The derivative of a density in a parameter is a constant times the difference of two densities. Families have them in
`Distribution.decompositions`: plain NumPy, ``rule(z, u, **params) -> (constant, positive, negative)`` for a draw z of q
and a uniform u of its shape, independent of z. What comes back is coupled: the two draws share what they can, so that
the difference of f is small. Where one of the two densities is q itself, its draw is z, which is evaluated anyway.

Mohamed et al. 2020, table 1 and section 6.3; Heidergott, Vazquez-Abad and Volk-Makarewicz 2008; Pflug 1989.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Decomposition = Callable[..., tuple[Any, Any, Any]]

SQRT_2PI = math.sqrt(2 * math.pi)


def rayleigh(u: Any) -> Any:
    """Return Weibull draws of shape 2 and scale sqrt 2."""
    return np.sqrt(-2.0 * np.log(u))


def maxwell(n: Any, u: Any) -> Any:
    """Return double-sided Maxwell draws whose product with a uniform is the standard normal n.

    Of three independent normals, n = r cos(a) with r Maxwell and cos(a) uniform on (-1, 1) (Archimedes); the other two
    add -2 log u to its square.
    """
    return np.where(n < 0, -1.0, 1.0) * np.sqrt(np.square(n) - 2.0 * np.log(u))
