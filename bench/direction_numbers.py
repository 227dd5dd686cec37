"""Make `src/mcgrad/noise/joe_kuo_2008.bin`, the direction numbers of Sobol' points, from SciPy's public points.

The numbers are those of the file new-joe-kuo-6.21201 of Joe and Kuo (2008), which `scipy.stats.qmc.Sobol` has. A point
of SciPy's unscrambled sequence at index 2**b is V_b ^ V_{b-1} of its dimension, so its first 2**17 + 1 points give V_0
.. V_17, and with them the initial numbers m_1 .. m_18. Polynomials are not taken from anywhere: the file has the
primitive polynomials over GF(2) of each degree, all of them, in ascending order, which is checked against the next
direction numbers of SciPy, V_18 .. V_20.

The file has a row for each dimension from the second on, in whole bytes, degree after degree: the inner coefficients of
the polynomial (s - 1 bits), then of each m_i, 2 <= i <= s, all bits but the last, which is 1 (i - 1 bits).

Usage: python bench/direction_numbers.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from mcgrad.noise import directions

MOST = 18  # the highest degree


def prime_factors(n: int) -> list[int]:
    found = []
    for p in range(2, n):
        if p * p > n:
            break
        while n % p == 0:
            found.append(p)
            n //= p
    return [*found, n] if n > 1 else found


def power_of_x(exponent: int, polynomial: int, degree: int) -> int:
    """x**exponent modulo a polynomial, as bits."""
    result, square = 1, 2 if degree > 1 else 2 ^ polynomial
    while exponent:
        if exponent & 1:
            result = product(result, square, polynomial, degree)
        square = product(square, square, polynomial, degree)
        exponent >>= 1
    return result


def product(a: int, b: int, polynomial: int, degree: int) -> int:
    out = 0
    while b:
        out ^= a if b & 1 else 0
        a <<= 1
        a ^= polynomial if a >> degree else 0
        b >>= 1
    return out


def primitive(degree: int) -> Iterator[int]:
    """Yield the primitive polynomials of a degree in ascending order: those modulo which x has the order 2**s - 1."""
    order = (1 << degree) - 1
    tried = {order // p for p in prime_factors(order)}
    for polynomial in range((1 << degree) + 1, 2 << degree, 2):
        if power_of_x(order, polynomial, degree) == 1 and all(power_of_x(k, polynomial, degree) != 1 for k in tried):
            yield polynomial


def directions_of_scipy(most: int) -> np.ndarray:
    """V_0 .. V_most of all dimensions, 32 bits, from the points at powers of two."""
    from scipy.stats import qmc

    engine = qmc.Sobol(directions.DIMENSIONS, scramble=False, bits=32)
    found, at = [], 0
    for b in range(most + 1):
        engine.fast_forward((1 << b) - at)
        point = (engine.random(1)[0] * 2.0**32).astype(np.uint64)
        at = (1 << b) + 1
        found.append(point ^ found[-1] if found else point)
    return np.array(found)


def packed(V: np.ndarray) -> bytes:
    """Return the contents of the file."""
    parts, first = [], 1
    for degree in range(1, MOST + 1):
        bits = []
        for j, polynomial in enumerate(primitive(degree), first):
            row = [polynomial >> k & 1 for k in range(degree - 1, 0, -1)]
            for i in range(2, degree + 1):
                m = int(V[i - 1, j]) >> (32 - i)
                row += [m >> k & 1 for k in range(i - 1, 0, -1)]
            bits.append(row)
        parts.append(np.packbits(np.array(bits, np.uint8).reshape(len(bits), -1), axis=1).tobytes())
        first += len(bits)
    assert first == directions.DIMENSIONS
    return b"".join(parts)


def main() -> None:
    V = directions_of_scipy(20)
    content = packed(V)
    if "--check" in sys.argv:
        assert content == directions.FILE.read_bytes()
    else:
        directions.FILE.write_bytes(content)
    mine = directions.directions(np.arange(directions.DIMENSIONS))[:, : len(V)] >> np.uint64(32)
    np.testing.assert_array_equal(mine.T, V)
    print(f"{len(content)} bytes: {directions.DIMENSIONS} dimensions, V_0 .. V_{len(V) - 1} are SciPy's")


if __name__ == "__main__":
    main()
