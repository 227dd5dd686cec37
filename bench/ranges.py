"""From where to where gradients are right: all families towards the ends of their parameters, by method and dtype.

Each row of `ranges_*.py` is a family whose parameters follow one number, x, and a bounded f that scales with them,
of which the expectation is known. Gradients of E f (with `stl`: of E f plus the entropy of q) are held against
derivatives in mpmath.

    python bench/ranges.py [--n DRAWS] [--seed SEED] [--only NAME] [--markdown docs/estimators.md]
"""

from __future__ import annotations

import argparse
import datetime
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from pathlib import Path

import mpmath as mp
import numpy as np
import ranges_bounded  # noqa: F401  (these fill ROWS)
import ranges_discrete  # noqa: F401
import ranges_positive  # noqa: F401
import ranges_vectors  # noqa: F401
from ranges_rows import ROWS

import mcgrad as mg
from mcgrad import tree

CONTINUOUS, DISCRETE = (
    ("pathwise", "score+mean", "measure_valued", "stl"),
    ("score+mean", "measure_valued", "difference"),
)
ROUNDING = {"float32": 1e-3, "float64": 1e-4}  # of the answer, beside five standard errors; rare draws give as much
START, END = "<!-- ranges: bench/ranges.py -->", "<!-- end of ranges -->"
REFUSALS = {"moves an end of its support": "m", "no measure-valued decomposition": "d"}
N, SEED = 10_000, 1


@dataclass(frozen=True)
class Exact:
    """E f, and its gradient by path."""

    value: float
    grad: dict[str, np.ndarray]


@cache
def exactly(row, x, dtype, entropy):
    """Differentiate the expectation at x by central differences in 45 digits."""
    q, data = row.at(x, dtype)
    params = {path: np.vectorize(mp.mpf, otypes=[object])(y) for path, y in q.flat_params.items()}
    data = {name: np.vectorize(mp.mpf, otypes=[object])(y)[()] for name, y in data.items()}

    def expectation(path=None, index=None, step=0):
        moved = {name: x.copy() for name, x in params.items()}
        if path:
            moved[path][index] += step
        moved = {name: x[()] for name, x in moved.items()}
        return row.moment(moved, data) + (row.entropy(moved) if entropy else 0)

    grad = {path: np.zeros(x.shape) for path, x in params.items()}
    for path, x in params.items():
        for index in np.ndindex(x.shape):
            if x[index] != 0:  # zeros of a triangular matrix are no parameters
                step = abs(x[index]) * mp.mpf(10) ** -14
                change = expectation(path, index, step) - expectation(path, index, -step)
                grad[path][index] = float(change / (2 * step))
    return Exact(float(expectation().real), grad)


def judge(estimate, n, seed, changes, exact, dtype):
    """Return a letter for each parameter: '' where its gradient is right, and its error below half of it."""
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        est = estimate(n, seed, **changes)
    warned = any(issubclass(one.category, mg.RareDrawsWarning) for one in caught)
    slack, errors, found = ROUNDING[dtype], tree.flatten(est.grad_stderr), {}
    for path, grad in tree.flatten(est.grad).items():
        grad, stderr, right = np.asarray(grad), np.asarray(errors[path]), exact.grad[path]
        size, largest = np.abs(right).max(), np.abs(right).argmax()
        off = np.abs(grad - right) > 5 * stderr + slack * size
        if est.nonfinite or not (np.isfinite(grad).all() and np.isfinite(stderr).all()):
            found[path] = "i"
        elif not grad.any() and not stderr.any():
            found[path] = "z" if warned else "s"
        elif stderr.flat[largest] > 0.5 * size:
            found[path] = "n"
        elif off[right != 0].any():
            found[path] = "w"
        elif abs(est.value - exact.value) > 5 * est.stderr + slack * abs(exact.value):
            found[path] = "v"
        else:
            found[path] = ""
    return found


def checked(estimate, n, seed, changes, exact, dtype):
    """Judge, and what is off once more, by eight times as many draws of another seed."""
    first = judge(estimate, n, seed, changes, exact, dtype)
    if {"w", "v"} & set(first.values()):
        second = judge(estimate, 8 * n, seed + 1, changes, exact, dtype)
        return {path: second[path] if letter in ("w", "v") else letter for path, letter in first.items()}
    return first


def estimators(row, x, method, dtype):
    """Make one estimator of all parameters, or one of each where that is refused; also who is refused, and why."""
    q, data = row.at(x, dtype)
    f = row.f if method != "stl" else mg.elbo(row.f, q)
    made, refused = [], {}
    for wrt in (list(row.paths), *([path] for path in row.paths)):
        try:
            made.append(mg.Estimator(f, q, wrt=wrt, method=method, data=data, dtype=dtype, backend="numpy"))
        except mg.ParameterError as error:
            if len(wrt) == 1:
                refused[wrt[0]] = next((letter for words, letter in REFUSALS.items() if words in str(error)), "r")
        if made and wrt == list(row.paths):
            break
    return made, refused


def sweep(row, method, dtype, n=N, seed=SEED):
    """Return for each parameter a list of letters, one of each x, or the letter of a refusal."""
    if method == "stl" and row.entropy is None:
        return dict.fromkeys(row.paths, "u")
    points = row.points(dtype)
    middle = points[len(points) // 2]
    made, refused = estimators(row, middle, method, dtype)
    found = {path: refused.get(path, []) for path in row.paths}
    for x in points if made else []:
        letters = dict.fromkeys(row.paths, "o")
        try:
            q, data = row.at(x, dtype)
            exact = exactly(row, x, dtype, method == "stl")
            for estimate in estimators(row, x, method, dtype)[0] if row.anew else made:
                letters |= checked(estimate, n, seed, {**q.params, **data}, exact, dtype)
        except (mg.ParameterError, ZeroDivisionError):  # the latter where ends round to one number
            pass
        for path in set(row.paths) - set(refused):
            found[path].append(letters[path])
    return found


def entry(letters, points):
    """Say where the longest run of right points begins and ends, with the letters of what is beside it."""
    if isinstance(letters, str):
        return letters
    runs, start = [], None
    for i, letter in enumerate([*letters, "end"]):
        if letter == "" and start is None:
            start = i
        elif letter != "" and start is not None:
            runs.append((i - start, start, i - 1))
            start = None
    if not runs:
        return "".join(sorted(set(letters)))
    length, first, last = max(runs)
    if length == len(letters):
        return "all"
    before, after = letters[first - 1] if first else "", letters[last + 1] if last + 1 < len(letters) else ""
    low, high = (f"{name(points[i])}" for i in (first, last))
    return f"{before} {low} .. {high} {after}".strip()


def name(x):
    return f"{x:.3g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def measure(index, n=N, seed=SEED):
    """Return lines of the table: parameters of a row of ROWS that are alike, and entries by method and dtype."""
    row = ROWS[index]
    entries = {path: {} for path in row.paths}
    for method in DISCRETE if row.discrete else CONTINUOUS:
        for dtype in ROUNDING:
            for path, letters in sweep(row, method, dtype, n, seed).items():
                entries[path][method, dtype] = entry(letters, row.points(dtype))
    groups = {}
    for path, cells in entries.items():
        groups.setdefault(tuple(cells.items()), []).append(path)
    return [(index, paths, dict(cells)) for cells, paths in groups.items()]


def table(lines, methods):
    """Return Markdown."""
    heads = ["family", "x", "from .. to", "gradient in", *(f"`{method}`" for method in methods)]
    text = [f"| {' | '.join(heads)} |", "| " + " | ".join("---" for _ in heads) + " |"]
    for index, paths, cells in lines:
        row = ROWS[index]
        ends = [f"{name(row.points(dtype)[0])} .. {name(row.points(dtype)[-1])}" for dtype in ROUNDING]
        ranges = " / ".join(dict.fromkeys(ends))
        shown = [" / ".join(dict.fromkeys(cells[method, dtype] for dtype in ROUNDING)) for method in methods]
        text.append(f"| {' | '.join([f'`{row.family}`', row.swept, ranges, ', '.join(paths), *shown])} |")
    return "\n".join(text)


def page(lines, n, seed):
    """Return both tables."""
    parts = [f"{datetime.date.today()}, seed {seed}, {n:,} draws, NumPy {np.__version__}."]
    for discrete, methods in ((False, CONTINUOUS), (True, DISCRETE)):
        some = [line for line in lines if ROWS[line[0]].discrete == discrete]
        if some:
            parts.append(table(some, methods))
    return "\n\n".join(parts)


def write(text, path):
    """Put the tables between the marks of a page."""
    before, _, rest = Path(path).read_text().partition(START)
    _, _, after = rest.partition(END)
    Path(path).write_text(f"{before}{START}\n\n{text}\n\n{END}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=N)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--only", default="", help="the beginning of families' names")
    parser.add_argument("--markdown", metavar="FILE", help="a page with marks, to put the tables into")
    args = parser.parse_args()
    rows = [k for k, row in enumerate(ROWS) if row.family.startswith(args.only)]
    lines = []
    with ProcessPoolExecutor(args.jobs) as pool:
        for some in pool.map(measure, rows, repeat(args.n), repeat(args.seed)):
            print(ROWS[some[0][0]].family, ROWS[some[0][0]].swept, *(line[1:] for line in some), sep="\n  ", flush=True)
            lines += some
    text = page(lines, args.n, args.seed)
    print(text)
    if args.markdown:
        write(text, args.markdown)


if __name__ == "__main__":
    main()
