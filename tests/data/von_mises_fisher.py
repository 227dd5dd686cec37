"""Make von_mises_fisher.csv: angles of von Mises-Fisher directions and their derivatives, to 20 digits, by mpmath.

    python tests/data/von_mises_fisher.py > tests/data/von_mises_fisher.csv

The angle has the density sin(theta)**(d - 2) exp(kappa cos(theta)) on 0 .. pi. A row holds the theta whose
distribution function is that of a standard normal at n (of its size, for d = 2), -d theta / d kappa at this fixed
probability, the derivative of that in theta, and E cos(theta).
"""

import mpmath as mp
import numpy as np

mp.mp.dps = 40
DIMENSIONS = (2, 3, 5, 10, 100)
CONCENTRATIONS = (1e-6, 1e-3, 0.1, 1.0, 2.0, 8.0, 30.0, 1e2, 1e4, 1e6)
NORMALS = (-6.0, -2.5, -0.5, 0.25, 1.0, 3.0, 5.0)


def angle(d, kappa, n):
    """Return theta, -d theta / d kappa, its derivative in theta, E cos(theta)."""
    m, kappa, n = d - 2, mp.mpf(kappa), mp.mpf(n)

    def v(t):
        return 2 * mp.sin(t / 2) ** 2

    cosine = 2 * kappa / (m + mp.sqrt(m**2 + 4 * kappa**2))
    mode = mp.acos(cosine) if m else mp.mpf(0)
    width = 1 / mp.sqrt((m / mp.sin(mode) ** 2 if m else 0) + kappa * cosine + mp.mpf("0.1"))
    cuts = [mode + k * width for k in (-32, -16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16, 32, 64)]
    top = m * mp.log(mp.sin(mode)) - kappa * v(mode) if m else 0

    def density(t):
        return mp.sin(t) ** m * mp.exp(-kappa * v(t) - top)

    def integral(f, low, high):
        return mp.quad(f, [low, *(x for x in cuts if low < x < high), high])

    total = integral(density, 0, mp.pi)
    below, above = (mp.erf(n / mp.sqrt(2)), mp.erfc(n / mp.sqrt(2))) if m == 0 else (mp.ncdf(n), mp.ncdf(-n))
    grid = np.linspace(max(float(mode - 40 * width), 0.0), min(float(mode + 40 * width), np.pi), 20001)
    with np.errstate(divide="ignore"):
        logs = m * np.log(np.sin(grid)) if m else 0.0
    rough = np.exp(logs - float(kappa) * 2 * np.sin(grid / 2) ** 2 - float(top))
    share = np.cumsum(rough) / rough.sum()
    if below < above:
        theta = mp.mpf(float(np.interp(float(below), share, grid)))
    else:
        rest = np.cumsum(rough[::-1]) / rough.sum()
        theta = mp.mpf(float(np.interp(float(above), rest, grid[::-1])))
    for _ in range(60):  # Newton's method for the logarithm of the tail, in that of the distance to its end
        if below < above:
            tail = integral(density, 0, theta)
            step = mp.log(tail / (below * total)) * tail / (theta * density(theta))
            theta *= mp.exp(-step)
        else:
            tail, rest = integral(density, theta, mp.pi), mp.pi - theta
            step = mp.log(tail / (above * total)) * tail / (rest * density(theta))
            theta = mp.pi - rest * mp.exp(-max(step, -3))
        if abs(step) < mp.mpf(10) ** -20:
            break
    else:
        raise ArithmeticError((d, kappa, n))
    mean = integral(lambda t: v(t) * density(t), 0, mp.pi) / total
    if v(theta) < mean:
        rate = integral(lambda t: (mean - v(t)) * density(t), 0, theta) / density(theta)
    else:
        rate = integral(lambda t: (v(t) - mean) * density(t), theta, mp.pi) / density(theta)
    slope = mean - v(theta) - rate * (m / mp.tan(theta) - kappa * mp.sin(theta))
    return theta, rate, slope, 1 - mean


if __name__ == "__main__":
    print("d,kappa,n,theta,rate,slope,mean_cosine")
    for d in DIMENSIONS:
        for kappa in CONCENTRATIONS:
            for n in NORMALS if d > 2 else [n for n in NORMALS if n > 0]:
                row = ",".join(mp.nstr(x, 20) for x in angle(d, kappa, n))
                print(f"{d},{kappa!r},{n!r},{row}", flush=True)
