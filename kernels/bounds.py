"""The stated error bounds of the elementary and special functions; the tests hold them against mpmath.

`BOUNDS[name][bits]` is a tuple of bounds, bits being 32 or 64. Exact functions (floor, sign, minimum ...) have none.

An error is counted in units in the last place (ulp) of the right result. `floor` is an absolute error that is allowed
whatever the result: near zeros of a function that cannot keep relative accuracy there. Domains are the ranges that are
sampled; outside of them see each module's docstring. A domain of a function of two arguments is a pair of ranges.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, drawn evenly ("linear"), or 10**low to 10**high evenly in the exponent ("log")."""

    low: float
    high: float
    kind: str = "linear"
    signed: bool = False


@dataclass(frozen=True)
class Bound:
    """At most `ulps` units in the last place, or `floor`, on each domain."""

    ulps: float
    domains: tuple[Range | tuple[Range, Range], ...]
    floor: float = 0.0


def _log(low, high):
    return Range(low, high, "log")


def _signed(low, high):
    return Range(low, high, "log", signed=True)


def _both(ulps, *domains, floor32=0.0, floor64=0.0):
    """One bound and the same domains for both dtypes."""
    return {32: (Bound(ulps, domains, floor32),), 64: (Bound(ulps, domains, floor64),)}


def _each(ulps, domains32, domains64):
    """One bound on domains that differ."""
    return {32: (Bound(ulps, domains32),), 64: (Bound(ulps, domains64),)}


def _either(first, second):
    """Bounds of a function that has different ones on different domains."""
    return {bits: first[bits] + second[bits] for bits in first}


_UNIT = Range(-1.0, 1.0)
_ALL32, _ALL64 = _log(-37, 38), _log(-307, 308)
_WIDE32, _WIDE64 = _signed(-37, 38), _signed(-307, 308)
_GAMMA = (_log(-5, 10), Range(0.1, 3.0), Range(2.0, 12.0))
_REFLECTED = Range(-10.0, 0.0)
_QUANTILE32, _QUANTILE64 = (
    tuple((a, Range(-e, e)) for a in (_log(-6, 0), Range(0.5, 20.0), _log(1, 6))) for e in (6.6, 8.8)
)

BOUNDS = {
    "exp": _each(1.5, (Range(-87.0, 88.7), _UNIT), (Range(-708.0, 709.7), _UNIT)),
    "exp2": _each(1.5, (Range(-126.0, 127.9), _UNIT), (Range(-1022.0, 1023.9), _UNIT)),
    "expm1": _each(2.0, (Range(-20.0, 88.7), Range(-2.0, 2.0), _signed(-8, 0)),
                   (Range(-40.0, 709.7), Range(-2.0, 2.0), _signed(-12, 0))),
    "log": _each(1.0, (_ALL32, Range(0.5, 2.0), Range(0.99, 1.01)), (_ALL64, Range(0.5, 2.0), Range(0.99, 1.01))),
    "log1p": _each(1.5, (_ALL32, Range(-0.9999, 1.0), _signed(-8, -0.01)),
                   (_ALL64, Range(-0.9999, 1.0), _signed(-12, -0.01))),
    "log2": _each(2.0, (_ALL32, Range(0.5, 2.0)), (_ALL64, Range(0.5, 2.0))),
    "log10": _each(2.0, (_ALL32, Range(0.5, 2.0)), (_ALL64, Range(0.5, 2.0))),
    "sqrt": _each(0.5, (_ALL32,), (_ALL64,)),
    "cbrt": _each(1.0, (_WIDE32, Range(1.0, 8.0)), (_WIDE64, Range(1.0, 8.0))),
    "power": _each(1.5, ((Range(0.0, 3.0), Range(-80.0, 80.0)), (_ALL32, _UNIT), (Range(0.9, 1.1), Range(-8e2, 8e2))),
                   ((Range(0.0, 3.0), Range(-600.0, 600.0)), (_ALL64, _UNIT), (Range(0.9, 1.1), Range(-7e3, 7e3)))),
    "hypot": _each(1.0, ((_WIDE32, _WIDE32), (_UNIT, _UNIT)), ((_WIDE64, _WIDE64), (_UNIT, _UNIT))),
    "sin": _each(1.75, (Range(-4.0, 4.0), _signed(-3, 6)), (Range(-4.0, 4.0), _signed(-3, 14))),
    "cos": _each(1.75, (Range(-4.0, 4.0), _signed(-3, 6)), (Range(-4.0, 4.0), _signed(-3, 14))),
    "tan": _each(3.5, (Range(-4.0, 4.0), _signed(-3, 6)), (Range(-4.0, 4.0), _signed(-3, 14))),
    "arcsin": _both(2.5, _UNIT, _signed(-6, 0)),
    "arccos": _both(1.5, _UNIT, _signed(-6, 0)),
    "arctan": _both(2.0, Range(-3.0, 3.0), _signed(-5, 5)),
    "arctan2": _both(2.0, (_UNIT, _UNIT), (_signed(-5, 5), _signed(-5, 5))),
    "sinh": _each(2.5, (Range(-89.4, 89.4), Range(-2.0, 2.0), _signed(-5, 0)),
                  (Range(-710.4, 710.4), Range(-2.0, 2.0), _signed(-5, 0))),
    "cosh": _each(1.5, (Range(-89.4, 89.4), Range(-2.0, 2.0)), (Range(-710.4, 710.4), Range(-2.0, 2.0))),
    "tanh": _both(2.5, Range(-20.0, 20.0), _UNIT, _signed(-5, 0)),
    "arcsinh": _each(2.0, (_WIDE32, Range(-3.0, 3.0)), (_WIDE64, Range(-3.0, 3.0))),
    "arccosh": _each(2.0, (_log(0.01, 38), Range(1.0, 2.0)), (_log(0.01, 308), Range(1.0, 2.0))),
    "arctanh": _both(2.0, _UNIT, _signed(-5, 0)),
    "reciprocal": _each(0.5, (_signed(-37, 37),), (_signed(-307, 307),)),
    "expit": _each(2.5, (Range(-87.0, 20.0), Range(-2.0, 2.0)), (Range(-708.0, 40.0), Range(-2.0, 2.0))),
    "softplus": _each(2.0, (Range(-87.0, 40.0), Range(-2.0, 2.0)), (Range(-708.0, 100.0), Range(-2.0, 2.0))),
    "logaddexp": _both(2.0, (Range(-50.0, 50.0), Range(-50.0, 50.0)), (Range(-2.0, 2.0), Range(-2.0, 2.0)),
                       floor32=2e-7, floor64=4e-16),
    "erf": _both(1.5, Range(-6.0, 6.0), _UNIT, _signed(-6, 0)),
    "erfc": _each(5.0, (Range(-4.0, 9.1), _UNIT), (Range(-6.0, 26.0), _UNIT)),
    "erfcx": _each(5.0, (Range(-9.3, 9.3), _UNIT, _log(0, 37)), (Range(-26.6, 26.6), _UNIT, _log(0, 300))),
    "ndtr": _each(5.0, (Range(-12.8, 6.0), _UNIT), (Range(-37.0, 9.0), _UNIT)),
    "log_cosh": _each(6.0, (Range(-20.0, 20.0), _UNIT, _signed(-17, 38)),
                      (Range(-40.0, 40.0), _UNIT, _signed(-150, 308))),
    "log_ndtr": _each(6.0, (_signed(0, 1.1), Range(-3.0, 3.0), Range(-1e4, -1.0)),
                      (_signed(0, 1.5), Range(-3.0, 3.0), Range(-1e6, -1.0))),
    "ndtri": _each(5.0, (_log(-37, -0.31), Range(0.01, 0.99)), (_log(-307, -0.31), Range(0.01, 0.99))),
    # absolute near -log 2, where the quantile is 0; elsewhere a rounding of the logarithm is one of the quantile
    "ndtri_exp": _both(5.0, Range(-5.0, 0.0), Range(-1e3, -1.0), Range(-1e6, -1e3), Range(-1e-3, 0.0),
                       floor32=2e-7, floor64=4e-16),
    # y in absolute terms where it is near 0; its slopes have no zeros
    "gamma_log_ratio": {32: (Bound(10.0, _QUANTILE32, 5e-7),), 64: (Bound(300.0, _QUANTILE64, 5e-14),)},
    "gamma_slope_a": {32: (Bound(8.0, _QUANTILE32),), 64: (Bound(3e4, _QUANTILE64),)},
    "gamma_slope_e": {32: (Bound(8.0, _QUANTILE32),), 64: (Bound(3e4, _QUANTILE64),)},
    "gammaln": _either(_both(5.0, *_GAMMA), _both(5.0, _REFLECTED, floor32=1e-6, floor64=2e-15)),
    "digamma": _both(6.0, *_GAMMA, _REFLECTED, floor32=1e-6, floor64=2e-15),
    "trigamma": _both(6.0, *_GAMMA, _REFLECTED),
}  # fmt: skip

# What float32 functions may lose more on a GPU, in ulps: its division, root and 2**x are single instructions that err
# by up to 2 (so `divide` itself has 2). The absolute errors that are allowed anywhere are twice as large there.
GPU_MORE = {name: 12.0 if name in ("digamma", "trigamma", "gamma_slope_a", "gamma_slope_e") else 4.0 for name in BOUNDS}
GPU_FLOOR = 2.0
