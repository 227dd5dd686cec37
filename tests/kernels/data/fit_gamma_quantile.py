"""Write kernels/gamma_polynomials32.py and gamma_polynomials64.py: Chebyshev series of two variables as powers.

    python tests/kernels/data/fit_gamma_quantile.py [FOLDER]        # some minutes; kernels/ by default

Values of 30 digits on grids of Chebyshev nodes give the coefficients of the double series. What is below CUT goes, and
each power of y keeps as many powers of x as the rest needs. With these cuts the slopes, too, are as accurate as wanted.
"""

import sys
from multiprocessing import Pool
from pathlib import Path

import mpmath as mp
import numpy as np
from gamma_quantile import at_s, at_score

KERNELS = Path(__file__).parents[3] / "kernels"
A = mp.log(17)
MOST_S = {32: 29, 64: 47}
MOST_ETA = {32: 1.75, 64: 2.25}
CUT = {32: 1e-9, 64: 3e-15}
DOCSTRING = '''"""Polynomials of the float{bits} gamma quantile (`gamma_quantile.py`): rows for `polynomial2`.

Made by tests/kernels/data/fit_gamma_quantile.py from quantiles of 30 digits; Chebyshev series, cut at {cut}.
"""
'''


def low(x, s):
    a = mp.expm1(x)
    return at_s(a, s) - mp.log(-mp.expm1(-s)) - x


def high(x, log_s):
    return at_s(mp.expm1(x), mp.exp(log_s)) - log_s - x


def large(b, eta):
    return at_score(1 / b, eta / mp.sqrt(b)) + mp.log(b) - mp.log1p(b)


def surfaces(bits):
    """By name: the function, the ranges of x and y, the numbers of nodes, whether powers are of (x + 1)/2."""
    wide = bits == 64
    eta = mp.mpf(MOST_ETA[bits])
    return {
        "LOW": (low, (0, A), (0, 4), 22 if wide else 16, 24 if wide else 18, False),
        "HIGH": (high, (0, A), (mp.log(4), mp.log(MOST_S[bits])), 22 if wide else 16, 36 if wide else 24, False),
        "LARGE": (large, (0, mp.mpf(1) / 16), (-eta, eta), 14 if wide else 10, 42 if wide else 24, True),
    }


def nodes(n, low, high):
    return [low + (high - low) * (1 + mp.cos((2 * j + 1) * mp.pi / (2 * n))) / 2 for j in range(n)]


def to_chebyshev(n):
    rows = [[mp.cos(k * (2 * j + 1) * mp.pi / (2 * n)) * (2 if k else 1) / n for j in range(n)] for k in range(n)]
    return np.array(rows, dtype=object)


def powers(k, shifted):
    """Coefficients of T_k(t), or of T_k(2 t - 1)."""
    one, step = [mp.mpf(1)], [mp.mpf(-2), mp.mpf(4)] if shifted else [mp.mpf(0), mp.mpf(2)]
    before, found = one, [x / 2 for x in step]
    for _ in range(k - 1):
        after = [mp.mpf(0)] * (len(found) + 1)
        for i, x in enumerate(found):
            after[i] += step[0] * x
            after[i + 1] += step[1] * x
        for i, x in enumerate(before):
            after[i] -= x
        before, found = found, after
    return found if k else one


def cut(series, least, shifted):
    """Rows of powers of x, one a power of y, from the Chebyshev coefficients (in x, in y)."""
    keep = np.abs(series.astype(float)) > least
    widths = [int(np.flatnonzero(column).max(initial=0)) + 1 for column in keep.T]
    extent = max(k for k in range(len(widths)) if keep[:, k].any()) + 1
    widths = [max(widths[k:extent]) for k in range(extent)]
    rows = [[mp.mpf(0)] * width for width in widths]
    for k in range(extent):
        for p, factor in enumerate(powers(k, False)):
            for j in range(widths[k]):
                for q, other in enumerate(powers(j, shifted)):
                    rows[p][q] += factor * other * series[j, k]
    return rows


def text(name, rows, bits):
    lines = [f"{name} = ("]
    for row in rows:
        numbers = [repr(float(x)) if bits == 64 else f"{float(x):.9g}" for x in row]
        numbers = [x if "." in x or "e" in x else f"{x}.0" for x in numbers]
        line = "    ("
        for i, number in enumerate(numbers):
            piece = number + ("," if i < len(numbers) - 1 or len(numbers) == 1 else "),")
            if len(line) + len(piece) > 119:
                lines.append(line.rstrip())
                line = "     "
            line += piece + " "
        lines.append(line.rstrip() + ("),"[: 2 * (len(numbers) == 1)]))
    return "\n".join([*lines, ")  # fmt: skip"])


def main(folder):
    with Pool(2) as pool:
        for bits in (32, 64):
            notes = {
                "LOW": "log(z/(1 + a)) - log r, of x = 2 log(1 + a)/log(17) - 1 and y = s/2 - 1, for a <= 16, s <= 4",
                "HIGH": "log(z/(1 + a)) - log s, of the same x and y = (2 log s - log(4 S))/log(S/4), for s > 4; "
                f"S = {MOST_S[bits]}",
                "LARGE": f"log(z/(1 + a)), of x = 16/a and y = e/sqrt(a)/{MOST_ETA[bits]}, for a > 16",
            }
            parts = [DOCSTRING.format(bits=bits, cut=CUT[bits])]
            for name, (function, x_range, y_range, n, m, shifted) in surfaces(bits).items():
                points = [(x, y) for x in nodes(n, *x_range) for y in nodes(m, *y_range)]
                values = np.array(pool.starmap(function, points, chunksize=4), dtype=object).reshape(n, m)
                series = to_chebyshev(n) @ values @ to_chebyshev(m).T
                parts += [f"# {notes[name]}", text(name, cut(series, CUT[bits], shifted), bits)]
            (folder / f"gamma_polynomials{bits}.py").write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else KERNELS)
