"""Write truncated_normal.csv: draws between bounds and their derivatives, by mpmath at 60 digits.

A draw at a standard normal score e is where the truncated distribution function is Phi(e). Columns: the parameters (an
absent bound is "none"), e, the draw's standard score x, the draw z, the derivatives of the draw in the parameters, the
log density.
"""

from pathlib import Path

import mpmath as mp

mp.mp.dps = 60
CASES = """2,1e-4,0,1 0,1,-1e-6,1e-6 3e13,1e14,0,1 300,1e3,0,1 0,1,.5,.501 0,1,.5,.53 0,1,.5,.55 0,1,3.99,4.05
0,1,4.01,4.03 0,1,4.01,4.1 0,1,-9,-8 0,1,8,none 0,1,300,none 0,1,none,-9 0,1,none,-4.1 .3,.7,-1,2 0,1,1e3,1000.001
0,1,50,50.001 0,1,1e4,1.00001e4"""


def row(loc, scale, low, high, e):
    """Return x, the slopes and the log density."""
    u = mp.ncdf(e)
    a = -mp.inf if low is None else (low - loc) / scale
    b = mp.inf if high is None else (high - loc) / scale
    if a + b > 0:  # on the side of the smaller tail
        sign, start, stop, share = -1, -b, -a, 1 - u
    else:
        sign, start, stop, share = 1, a, b, u
    below, above = mp.ncdf(start), mp.ncdf(stop)
    area = below * (1 - share) + above * share
    guess = start if start > -400 and start != -mp.inf else stop - 1 / max(1, -stop)
    x = mp.findroot(lambda x: mp.log(mp.ncdf(x) / area), guess, solver="newton",
                    df=lambda x: mp.npdf(x) / mp.ncdf(x), tol=1e-90, maxsteps=200)  # fmt: skip
    x = sign * x
    low_slope = 0 if low is None else (1 - u) * mp.exp((x * x - a * a) / 2)
    high_slope = 0 if high is None else u * mp.exp((x * x - b * b) / 2)
    by_scale = x - (0 if low is None else low_slope * a) - (0 if high is None else high_slope * b)
    density = mp.log(mp.npdf(x) / (above - below) / scale)
    return x, loc + scale * x, 1 - low_slope - high_slope, by_scale, low_slope, high_slope, density


if __name__ == "__main__":
    lines = ["loc,scale,low,high,e,x,z,dloc,dscale,dlow,dhigh,log_density"]
    for case in CASES.split():
        for e in (-3.0, -0.7, 0.0, 0.4, 1.3, 3.0):
            given = [None if part == "none" else mp.mpf(float(part)) for part in case.split(",")]
            found = row(*given, mp.mpf(e))
            lines.append(f"{case},{e}," + ",".join(mp.nstr(value, 17) for value in found))
    Path(__file__).with_suffix(".csv").write_text("\n".join(lines) + "\n")
