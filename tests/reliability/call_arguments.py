"""Wrong arguments of Python calls: refused by an error of mcgrad's, or taken."""

import datetime
import decimal
import fractions
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import numpy as np

import mcgrad as mg
from tests.reliability.attack import REFUSED, RIGHT, Case, Lost, forked, in_turn


class Odd:
    """An object whose every use fails."""

    def _fail(self, *args, **named):
        raise RuntimeError("odd")

    __repr__ = __str__ = __eq__ = __len__ = __iter__ = __float__ = __int__ = __index__ = __bool__ = _fail
    __array__ = __getitem__ = __lt__ = __add__ = __radd__ = __hash__ = _fail


def _recursive() -> list:
    found: list = []
    found.append(found)
    return found


WRONG: dict[str, Callable[[], object]] = {
    "None": lambda: None,
    "True": lambda: True,
    "0": lambda: 0,
    "-1": lambda: -1,
    "2": lambda: 2,
    "10**400": lambda: 10**400,
    "-(10**400)": lambda: -(10**400),
    "0.5": lambda: 0.5,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "1e308": lambda: 1e308,
    "5e-324": lambda: 5e-324,
    "complex": lambda: 1j,
    "empty string": lambda: "",
    "string": lambda: "x",
    "'loc'": lambda: "loc",
    "'score'": lambda: "score",
    "'numpy'": lambda: "numpy",
    "a NUL": lambda: "\0",
    "a lone surrogate": lambda: "\udcff",
    "bytes": lambda: b"x",
    "empty list": list,
    "list": lambda: [1, 2],
    "ragged list": lambda: [[1.0], [1.0, 2.0]],
    "list of strings": lambda: ["loc", "nope"],
    "recursive list": _recursive,
    "empty dict": dict,
    "dict": lambda: {"loc": 1.0},
    "dict with a number for a name": lambda: {1: 2.0},
    "deep dict": lambda: __import__("functools").reduce(lambda inner, _: {"a": inner}, range(3000), 1.0),
    "set": lambda: {1, 2},
    "generator": lambda: (i for i in range(3)),
    "range": lambda: range(3),
    "function": lambda: len,
    "class": lambda: int,
    "module": lambda: np,
    "object": object,
    "odd object": Odd,
    "Decimal": lambda: decimal.Decimal("0.5"),
    "Fraction": lambda: fractions.Fraction(1, 3),
    "date": lambda: datetime.date(2020, 1, 1),
    "array": lambda: np.ones(3),
    "array of shape (1,)": lambda: np.ones(1),
    "0-d array": lambda: np.array(3),
    "empty array": lambda: np.empty(0),
    "array of integers": lambda: np.arange(3),
    "array of objects": lambda: np.array([1, "a", None], dtype=object),
    "array of text": lambda: np.array(["a"]),
    "array of dates": lambda: np.array(["2020"], dtype="M8[Y]"),
    "records": lambda: np.zeros(2, dtype=[("a", "f8")]),
    "masked array": lambda: np.ma.masked_array([1.0, 2.0], [True, False]),
    "matrix of nan": lambda: np.full((2, 2), np.nan),
    "large array": lambda: np.broadcast_to(1.0, (10**9, 10**6)),
    "big-endian": lambda: np.ones(3, dtype=">f8"),
    "float16": lambda: np.ones(3, dtype=np.float16),
    "longdouble": lambda: np.ones(3, dtype=np.longdouble),
    "uint64": lambda: np.uint64(2**64 - 1),
    "distribution": lambda: mg.Normal(),
    "class of distributions": lambda: mg.Normal,
}


def f(z, *, tau, X):
    return np.sum(tau * np.sum(X) * np.sin(z))


PLACES: dict[str, Callable[[object], object]] = {
    **{
        name: lambda x, name=name: mg.estimate(f, mg.Normal(0.3, 1.2), **{**GIVEN, name: x})
        for name in (
            "n",
            "seed",
            "params",
            "data",
            "wrt",
            "dtype",
            "backend",
            "threads",
            "nonfinite",
            "method",
            "baseline",
            "k",
        )
    },
    "f": lambda x: mg.estimate(x, mg.Normal(0.3, 1.2), 100, backend="numpy"),
    "q": lambda x: mg.estimate(f, x, **GIVEN),
    "params['tau']": lambda x: mg.estimate(f, mg.Normal(0.3, 1.2), **{**GIVEN, "params": {"tau": x}}),
    "data['X']": lambda x: mg.estimate(f, mg.Normal(0.3, 1.2), **{**GIVEN, "data": {"X": x}}),
    "loc": lambda x: mg.estimate(f, mg.Normal(x, 1.2), **GIVEN),
    "scale": lambda x: mg.estimate(f, mg.Normal(0.3, x), **GIVEN),
    "probs": lambda x: mg.Categorical(probs=x),
    "scale_tril": lambda x: mg.MultivariateNormal(np.zeros(2), scale_tril=x),
    "a part of a Joint": lambda x: mg.Joint(a=mg.Normal(), b=x),
    "sample(n)": lambda x: np.shape(mg.Normal().sample(x)),
    "sample(seed=)": lambda x: mg.Normal().sample(2, seed=x).shape,
    "log_prob(z)": lambda x: np.shape(mg.Normal().log_prob(x)),
    "estimator(n)": lambda x: mg.Estimator(f, mg.Normal(0.3, 1.2), **FIXED)(x),
    "estimator(first=)": lambda x: mg.Estimator(f, mg.Normal(0.3, 1.2), **FIXED)(100, first=x),
    "estimator(loc=)": lambda x: mg.Estimator(f, mg.Normal(0.3, 1.2), **FIXED)(100, loc=x),
    "estimator(X=)": lambda x: mg.Estimator(f, mg.Normal(0.3, 1.2), **FIXED)(100, X=x),
    "merge": lambda x: mg.estimate(f, mg.Normal(0.3, 1.2), **GIVEN).merge(x),
    "confidence_interval": lambda x: str(mg.estimate(f, mg.Normal(0.3, 1.2), **GIVEN).confidence_interval(x)),
    "Estimate.from_json": mg.Estimate.from_json,
    "Estimate.from_dict": mg.Estimate.from_dict,
    "verify(n)": lambda x: mg.verify(lambda z: np.sin(z), mg.Normal(), x, backends=["numpy"]),
    "Integrand": lambda x: mg.Integrand(value=x, value_and_grad=x),
}
GIVEN = {"n": 100, "params": {"tau": 1.0}, "data": {"X": np.ones(3)}, "backend": "numpy", "threads": 1}
FIXED = {name: value for name, value in GIVEN.items() if name != "n"}


def of_place(place: str) -> Callable[[Random], Case]:
    order: list[str] = []

    def make(rng: Random) -> Case:
        if not order:
            order.extend(rng.sample(list(WRONG), len(WRONG)))
            if place == "f":
                order.remove("function")  # which raises, as a user's may
        name = order.pop()

        def act(folder: Path) -> str:
            def run() -> list[float] | None:
                found = PLACES[place](WRONG[name]())
                return [found.value, found.stderr] if isinstance(found, mg.Estimate) else None

            try:
                ended = forked(run)
            except Lost as error:
                if name == "large array" and "MemoryError" in str(error):  # as it says
                    return REFUSED
                raise
            if ended.refused:
                if len(ended.refused) > 2000:
                    raise Lost(f"refuses in {len(ended.refused)} characters")
                return REFUSED
            if "Traceback" in ended.err:
                raise Lost(f"prints a traceback: {ended.err[-200:]}")
            return RIGHT

        return Case(f"{place}", name, act)

    return make


def cases(rng: Random) -> Iterator[Case]:
    """Return each place in turn, with one wrong value after the other."""
    return in_turn(rng, [*map(of_place, PLACES)])
