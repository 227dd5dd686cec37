"""Polynomials of two variables with constant coefficients, as one chain of fused multiply-adds.

Written as a polynomial of y whose coefficients are polynomials of x: where x is the same for a whole lane loop, LLVM
takes all of those out of it, and what remains costs no more than a polynomial of y.
"""

from mcgrad.kernels.intrinsics import horner, of_floats


def polynomial2(rows):
    """Return a function (x, y) -> sum of rows[k][j] x**j y**k of floats of one type.

    The coefficients are rounded to that type at compile time. Rows need not be of one length.
    """

    def build(builder, x, y):
        coefficients = [horner(builder, x, [x.type(term) for term in row]) for row in rows]
        return horner(builder, y, coefficients)

    function = of_floats(2, build)
    function.rows = rows
    return function


def slope_x(rows, scale):
    """Return the rows of the derivative in x, times a constant."""
    return tuple(tuple(j * scale * term for j, term in enumerate(row))[1:] or (0.0,) for row in rows)


def slope_y(rows, scale):
    """Return the rows of the derivative in y, times a constant."""
    return tuple(tuple(k * scale * term for term in row) for k, row in enumerate(rows))[1:]
