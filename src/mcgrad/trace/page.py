"""The page of supported functions, written from the tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from mcgrad.trace import linear_algebra, scipy_special
from mcgrad.trace.array_functions import FUNCTIONS
from mcgrad.trace.array_methods import ATTRIBUTES, METHODS
from mcgrad.trace.ufunc_methods import ACCUMULATE, REDUCE
from mcgrad.trace.ufuncs import UFUNCS

CONTRACTIONS = {"matmul", "vecdot", "matvec", "vecmat"}
NOTES = {
    "np.floor_divide, np.remainder": "by floor(x / y); `//`, `%` and `divmod` use them",
    "np.heaviside, np.copysign, np.sign": "a zero has no sign: -0.0 counts as 0.0",
    "np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert": "of booleans; the operators `&`, `|`, `^`, `~`",
    "np.floor, np.ceil, np.trunc, np.sign": "have derivative zero; comparisons and logic have none",
    "outer": "of any ufunc of two arguments: `np.add.outer(x, y)`",
    "np.where": "with three arguments",
    "np.where, np.select": "a branch not taken adds nothing to the gradient, whatever its derivative is there: "
    "`np.where(z > 0, np.sqrt(z), 0)` needs no second `where` inside the root",
    "np.maximum, np.minimum, np.clip, np.max, np.min": "what is not taken adds nothing to the gradient, even where its "
    "derivative is infinite: that of `np.sqrt(np.maximum(z, 0))` is 0 at z < 0",
    "np.piecewise": "functions that work element by element",
    "np.nan_to_num": "infinities become the largest number of the estimate's width, with derivative zero",
    "np.sort, np.partition, np.median, np.quantile, np.percentile": "of up to 16 elements by a sorting "
    "network, of more by comparing all pairs; the derivative goes to the element that has come to a place, of equal "
    "ones to each from one place. np.partition sorts all. `q` is known while tracing, methods are linear, lower, "
    "higher, nearest and midpoint. If one element is NaN, so are all",
    "np.argmax, np.argmin, np.argsort": "whole numbers, which may index, `x[np.argmax(y)]`; they jump, and have "
    "no derivative. `np.argsort` is stable and compares all pairs. NaN, which is no index, if one element is NaN",
    "np.sum, np.prod, np.max, np.min": "without `initial=` and `where=`",
    "np.zeros_like, np.ones_like, np.full_like, np.empty_like": "give NumPy arrays, which f may fill",
    "np.linalg.norm": "vectors: any order; matrices: all",
    "np.linalg.cholesky, np.linalg.solve, np.linalg.inv, np.linalg.det, np.linalg.slogdet, np.linalg.eigvalsh, "
    "np.linalg.eigh, np.linalg.svdvals, np.linalg.cond": "of matrices up to some tens of rows, one or several: the "
    "loops that they become compile in the same time for any number of rows. Derivatives are in closed form. Where "
    "NumPy raises LinAlgError, as for a matrix that is not positive definite, the result is NaN or infinite, and the "
    "draw is counted among those that are not finite; so is one with the derivative of np.linalg.det of more than "
    "three rows, or of np.linalg.slogdet, of a singular matrix",
    "np.linalg.eigvalsh, np.linalg.eigh": "of symmetric matrices, of which one triangle is read, as `UPLO` says. "
    "Eigenvectors have a derivative where all eigenvalues differ, and a sign by which the first element that is larger "
    "than half of the largest is positive; NumPy's sign is either",
    "np.linalg.svdvals": "the eigenvalues of [[0, x], [x.T, 0]] that are not negative; so are np.linalg.cond and, of "
    "matrices, np.linalg.norm of order 2, -2 and 'nuc'",
    "scipy.linalg.solve_triangular, scipy.linalg.cholesky, scipy.linalg.cho_factor, scipy.linalg.cho_solve": "as those "
    "of np.linalg",
    "np.pad": "modes constant, edge, reflect, symmetric, wrap",
    "np.reshape, np.ravel, .reshape, .flatten": "in C order",
    "np.repeat, np.tile, np.roll, np.pad, np.split": "indices, counts and widths do not depend on the draw",
    "np.einsum": "subscripts as a string; any number of operands, ellipsis, repeated labels, implicit output; "
                 "`optimize` is ignored, the order of products is chosen by size",
    "np.searchsorted, np.digitize, np.interp": "of a traced x, in any number of knots; those of np.digitize and "
    "np.interp are known while tracing. A few are all compared, more are searched, or, if they lie evenly, found by a "
    "product. np.interp has the slope of the piece above at a knot, and NaN for NaN",
    "np.take, np.choose": "at traced indices, too, with `mode=`",
    ".astype": "to float, bool or int, which cuts fractions off; the width of floats is that of the whole estimate",
    "scipy.special.logsumexp": "with `axis` and `keepdims`, without `b` and `return_sign`",
    "any function": "`dtype=` takes float dtypes, which change nothing; `out=` is refused",
}  # fmt: skip

INTRODUCTION = """\
# NumPy functions that can be traced

An integrand is plain NumPy code of one draw. mcgrad calls it with stand-ins for the arrays, which record what is done
with them; everything listed here is recorded, differentiated and compiled. Anything else raises a `TraceError` that
names the call, the line of your code and what to write instead. It calls your function twice and refuses one that does
not do the same both times: random numbers drawn inside it, say, which one Program for all draws would freeze. Shapes
are fixed while tracing, so Python's `if`, `for` and `len` over *shapes* work as they are; over *values* they do not:
use `np.where` for `if z > 0`.

This page is written by `mcgrad.trace.page` from the tables that the tracer itself uses.
"""

PYTHON = """\
## Python's side

- Operators `+ - * / // % ** @`, unary `- + abs`, comparisons, `& | ^ ~` on booleans, `divmod`, each also with a number,
  a list or an array on the other side. `y += z` writes to the array that y is, as in NumPy: after `y = z` both have
  changed. Numbers, parameters and data are made anew; after `y = w; y += z` a parameter w is refused where it is read.
- `len`, iteration, unpacking, the built-in `sum`.
- Indexing with integers, slices with any step, `...`, `None`, integer arrays and lists, and boolean masks, mixed as
  NumPy allows.
- Indexing of a traced array by whole numbers of the draw, `w[k.astype(int)]`, `w[i, :, j]`, `np.take(w, k, axis)`,
  `np.take_along_axis(w, k, axis)`, `np.choose(k, choices)`: one load for each, of tables of any size. The derivative
  goes to what was chosen; it is zero in k, and a `JumpWarning` says so where a parameter moves k. What is no index of
  the array gives NaN, and counts among the draws that are not finite, where NumPy raises an IndexError. A mask that is
  traced does not index, and neither do floats: `w[np.floor(x)]` raises an IndexError, as in NumPy; write
  `w[np.floor(x).astype(int)]`. Of a list, or of a NumPy array that is not float data, write `np.take(w, k, axis=0)`,
  by this name: `w[k]` is NumPy's own there, and refused.
- Assignment `z[0] = 1`, `z[1:] += x`, `z[k] += 1`, `z[z < 0] = 0` to a traced array, with such indices, or with a mask
  and one number. Traced numbers stand among integers and slices, or are one array of up to 64. Rows and slices of `z`
  share its memory, as in NumPy: `z[0][1] = x` writes to `z`. What else shares it, as `z.T` or a reshape do, is refused
  where it is read after a write. Parameters and float data are written to in a copy, `x = x.copy()`.
- Assignment `out[i] = z`, `out[i][j] = z`, and `out += z` or `out[1:] += z`, to an array of floats that f has made by
  `np.empty`, `np.zeros`, `np.ones`, `np.full` or their `_like`, by these names. What was reshaped of it before does not
  follow: it is NaN. Other arrays of NumPy's hold numbers alone: write `out = mg.at(out, i).set(z)`, which makes another
  array, as `mg.at(out, i).add(z)` does.
- `z.shape`, `z.ndim`, `z.size`, `z.dtype` are plain Python values.
- NumPy arrays, lists and numbers that do not depend on the draw may be anything NumPy can compute.
- Lists and tuples of traced numbers, nested and mixed with arrays, wherever a function of this page takes an array:
  `np.mean(xs)`, `np.exp([z[0], 1.0])`, `np.maximum.reduce([a, b, c])`, `np.linalg.norm(rows)`; and `np.array(xs)`,
  `np.asarray`, `np.asanyarray` and `np.ascontiguousarray`. By these names: not what `from numpy import mean` gives
  outside of f, which asks each element for a number. Operators of NumPy's own arrays are not reached: write
  `x + np.array(xs)` for `x + xs` of such an array x.
"""


def markdown() -> str:
    """Return the page as Markdown."""
    groups = {
        "## Element by element (ufuncs)": [f"np.{name}" for name in UFUNCS if name not in CONTRACTIONS],
        "## Methods of ufuncs": [f"np.{name}.reduce" for name in REDUCE]
        + [f"np.{name}.accumulate" for name in ACCUMULATE],
        "## Functions": [f"np.{name}" for name in (*FUNCTIONS, *CONTRACTIONS)],
        "## Methods and attributes of arrays": [f".{name}" for name in (*METHODS, *ATTRIBUTES)],
        "## scipy.linalg": [f"scipy.linalg.{name}" for name in linear_algebra.SCIPY],
        "## scipy.special": [f"scipy.special.{name}" for name in (*scipy_special.UFUNCS, *scipy_special.FUNCTIONS)],
    }
    pages = [INTRODUCTION, PYTHON]
    pages += [f"{title}\n\n{_paragraph(names)}\n" for title, names in groups.items()]
    pages.append("## Notes\n\n" + "\n".join(_wrapped(f"- {name}: {note}.") for name, note in NOTES.items()) + "\n")
    return "\n".join(pages)


def _paragraph(names: Iterable[str]) -> str:
    return _wrapped(", ".join(f"`{name}`" for name in sorted(names)))


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text, 120, break_long_words=False, break_on_hyphens=False, subsequent_indent="  " * text.startswith("- ")
    )


if __name__ == "__main__":
    print(markdown(), end="")
