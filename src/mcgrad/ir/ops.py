"""The closed table of ops: everything a Program can say.

Every interpretation (meaning, derivative, CPU text, CUDA text) is a dict keyed by these names. An op is *elementwise*
(any number of arguments of one shape), *structural* (moves elements, computes nothing), a *reduction*, a *scan*, a
*contraction*, a *table*, or a *leaf*. NumPy's own names are used wherever NumPy has the function.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Op:
    """One row of the table.

    Parameters
    ----------
    name : str
    group : {"leaf", "elementwise", "structural", "reduction", "scan", "contraction", "table", "native"}
    result : {"float", "bool"}
    cost : float
        Rough cost of one element, in units of one multiplication. The cost model reads it, nothing else.
    linear : bool
        Whether the op is linear in all its float arguments taken together.
    """

    name: str
    group: str
    result: str = "float"
    cost: float = 1.0
    linear: bool = False


def _rows(group: str, names: str, result: str = "float", cost: float = 1.0, linear: bool = False) -> list[Op]:
    return [Op(name, group, result, cost, linear) for name in names.split()]


OPS: dict[str, Op] = {
    op.name: op
    for op in [
        # input: a parameter or data, by its path. const: a literal array. noise: its NoiseSource; the only random leaf.
        *_rows("leaf", "input const noise", cost=0.0),
        *_rows("elementwise", "add subtract negative copy", linear=True),
        # stop(z) is z without a derivative, implicit(z, F, p) z with the derivative -dF/p: both become z in `simplify`
        *_rows("elementwise", "stop implicit", cost=0.0),
        *_rows("elementwise", "multiply absolute sign floor ceil minimum maximum nextafter where float"),
        *_rows("elementwise", "divide reciprocal sqrt", cost=4),
        *_rows("elementwise", "exp exp2 log log2 log10 sin cos", cost=12),
        *_rows("elementwise", "expm1 log1p tan tanh sinh cosh cbrt hypot expit softplus logaddexp erf", cost=20),
        *_rows("elementwise", "arcsin arccos arctan arctan2 arcsinh arccosh arctanh", cost=25),
        # log(z/(1 + a)) of the gamma quantile z at the normal score e, and the slopes of log z in a and in e
        *_rows("elementwise", "gamma_log_ratio gamma_slope_a gamma_slope_e", cost=200),
        *_rows("elementwise", "power erfc erfcx ndtr log_ndtr ndtri ndtri_exp gammaln digamma trigamma", cost=50),
        *_rows("elementwise", "less less_equal equal not_equal isfinite isnan", result="bool"),
        *_rows("elementwise", "logical_and logical_or logical_not logical_xor", result="bool"),
        *_rows("structural", "reshape transpose broadcast slice flip pad take concatenate", cost=0.0, linear=True),
        Op("scatter_add", "reduction", linear=True),
        Op("sum", "reduction", linear=True),
        *_rows("reduction", "prod max min"),
        Op("cumsum", "scan", linear=True),
        *_rows("scan", "cumprod linear_recurrence"),
        Op("einsum", "contraction"),
        # an array made by the host of each number of a draw-independent array
        Op("table", "table", cost=0.0),
        *_rows("native", "native_value native_gradient", cost=20.0),
    ]
}
