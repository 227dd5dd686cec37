"""The gamma quantile to 30 digits with mpmath, and the table gamma_quantile.csv.

    python tests/kernels/data/gamma_quantile.py > tests/kernels/data/gamma_quantile.csv

Nothing is shared with the kernels or with `ir.gamma_quantile` but the definition: y = log z, P(a, z) = Phi(e), and
dy/da = -(dP/da) / (z p(z)), whose numerator is a difference of sixth order with 34 digits.
"""

from functools import lru_cache
from multiprocessing import Pool

import mpmath as mp
import numpy as np
import scipy.special as sc

mp.mp.dps = 34


def log_lower(a, y, digits=60):
    """log P by the series of positive terms (Abramowitz and Stegun 6.5.29), in whole numbers."""
    with mp.workdps(digits):
        z, one = mp.exp(y), 1 << int(digits * 3.33)
        a_whole, z_whole = int(mp.floor(a * one)), int(mp.floor(z * one))
        term, total, n = one, 0, 0
        while term:
            total += term
            n += 1
            term = term * z_whole // (a_whole + n * one)
        return a * y - z - mp.loggamma(a + 1) + mp.log(mp.mpf(total) / one)


@lru_cache
def legendre(n):
    """Nodes and weights of Gauss and Legendre, polished to 50 digits."""
    with mp.workdps(50):
        found = []
        for start in np.polynomial.legendre.leggauss(n)[0]:
            x = mp.mpf(float(start))
            for _ in range(4):
                before, value = mp.mpf(1), x
                for k in range(2, n + 1):
                    before, value = value, ((2 * k - 1) * x * value - (k - 1) * before) / k
                slope = n * (x * value - before) / (x * x - 1)
                weight = 2 / ((1 - x * x) * slope * slope)
                x -= value / slope
            found.append((x, weight))
    return found


def log_upper(a, y, nodes=90, fall=80):
    """log Q: mpmath's own where a < 16, else by quadrature of exp(a u - z (e**u - 1)) over u > 0."""
    if a < 16:
        return mp.log(mp.gammainc(a, mp.exp(y), mp.inf, regularized=True))
    with mp.workdps(45):
        z, end = mp.exp(y), 1e-9
        while float(a) * end - float(z) * np.expm1(end) + fall > 0 or end < float((a - z) / z):
            end *= 1.5
        end, total = mp.mpf(end), mp.mpf(0)
        for node, weight in legendre(nodes):
            u = end * (1 + node) / 2
            total += weight * mp.exp(a * u - z * mp.expm1(u))
        return a * y - z - mp.loggamma(a) + mp.log(total * end / 2)


def start(a, log_p, log_q):
    """A first y, from SciPy where it has one."""
    p, q = float(mp.exp(log_p)), float(mp.exp(log_q))
    small = (log_p + mp.loggamma(a + 1)) / a
    if small < -5:
        return small
    if min(p, q) < 1e-200:  # Wilson and Hilferty
        e = mp.sqrt(-2 * min(log_p, log_q))
        e = (e - mp.log(2 * mp.pi * e * e) / (2 * e)) * (-1 if log_p < log_q else 1)
        return mp.log(a * max(1 - 1 / (9 * a) + e / (3 * mp.sqrt(a)), mp.mpf("0.05")) ** 3)
    z = sc.gammaincinv(float(a), p) if p < q else sc.gammainccinv(float(a), q)
    return mp.log(mp.mpf(float(z))) if 1e-300 < z < np.inf else small


def solve(a, log_p, log_q):
    """y for the logarithms of both probabilities, by Newton's method on the smaller one."""
    y = start(a, log_p, log_q)
    for _ in range(60):
        lower = log_p < log_q or y < -7
        found, wanted = (log_lower(a, y), log_p) if lower else (log_upper(a, y), log_q)
        step = (found - wanted) * mp.exp(found - (a * y - mp.exp(y) - mp.loggamma(a))) * (1 if lower else -1)
        y -= step
        if abs(step) < mp.mpf(10) ** -18 * max(1, abs(y)):
            return y
    raise RuntimeError(f"{a}, {log_p}, {log_q}")


def at_score(a, e):
    """y at a normal score."""
    a, e = mp.mpf(a), mp.mpf(e)
    return solve(a, mp.log(mp.erfc(-e / mp.sqrt(2)) / 2), mp.log(mp.erfc(e / mp.sqrt(2)) / 2))


def at_s(a, s):
    """y at r = Phi(e)**(1/a) = 1 - exp(-s)."""
    a, s = mp.mpf(a), mp.mpf(s)
    log_p = a * mp.log1p(-mp.exp(-s))
    return solve(a, log_p, mp.log(-mp.expm1(log_p)))


def slopes(a, e, y):
    """(dy/da, dy/de)."""
    log_density = a * y - mp.exp(y) - mp.loggamma(a)
    tail, sign = (log_lower, -1) if e < 0 or y < -7 else (log_upper, 1)

    def difference(h):
        return (tail(a - 2 * h, y) - tail(a + 2 * h, y) + 8 * (tail(a + h, y) - tail(a - h, y))) / (12 * h)

    h = min(a, mp.sqrt(a)) / 10000
    slope = (16 * difference(h / 2) - difference(h)) / 15
    score_density = mp.exp(-e * e / 2) / mp.sqrt(2 * mp.pi)
    return sign * slope * mp.exp(tail(a, y) - log_density), score_density / mp.exp(log_density)


def row(point):
    a, e = map(mp.mpf, point)
    y = at_score(a, e)
    return ",".join([*map(repr, point), *(mp.nstr(x, 20) for x in (y, *slopes(a, e, y)))])


CONCENTRATIONS = [
    *(1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.125, 0.3, 0.5, 0.8, 1.0, 1.5, 2.5, 4.0, 7.0, 10.0, 15.0, 16.0, 17.0),
    *(25.0, 50.0, 100.0, 1e3, 1e4, 1e5, 1e6),
]
SCORES = [-8.5, -6.5, -5.0, -3.5, -2.0, -1.0, -0.25, 0.0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 8.5]

if __name__ == "__main__":
    print("# y = log z, P(a, z) = Phi(e), and its slopes, made by gamma_quantile.py with 34 digits")
    print("a,e,log_z,slope_a,slope_e")
    with Pool(2) as pool:
        for line in pool.imap(row, [(a, e) for a in CONCENTRATIONS for e in SCORES], chunksize=4):
            print(line, flush=True)
