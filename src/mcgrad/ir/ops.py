"""The closed table of ops: everything a Program can say.

Every interpretation (shape, meaning, derivative, CPU text, CUDA text) is a dict keyed by these names. An op is
*elementwise* (any number of arguments of one shape), a *view* (says where elements are read, computes nothing), an
*assembly* (puts the elements of its arguments in their places), a *reduction*, a *scan*, a *contraction*, a *table*, a
*native* function of the user's, or a *leaf*. NumPy's own names are used wherever NumPy has the function.
"""

from dataclasses import dataclass

from mcgrad.ir import attributes
from mcgrad.ir.spaces import Input
from mcgrad.noise.source import NoiseSource


@dataclass(frozen=True)
class Op:
    """One row of the table.

    Parameters
    ----------
    name : str
    group : {"leaf", "elementwise", "view", "assembly", "reduction", "scan", "contraction", "table", "native"}
    takes : {"float", "bool", "any"}
        What kind of values the arguments have. "any" is one kind for all, but for the condition of a `where`.
    result : {"float", "bool", "same"}
        The kind of the result; "same" is that of the last argument.
    cost : float
        Rough cost of one element, in units of one multiplication. The cost model reads it, nothing else.
    linear : bool
        Whether the op is linear in all its float arguments taken together.
    attributes : type, optional
        The record of what an equation says besides its arguments.
    """

    name: str
    group: str
    takes: str = "float"
    result: str = "float"
    cost: float = 1.0
    linear: bool = False
    attributes: type | None = None


def _elementwise(names: str, takes: str = "float", result: str = "float", **row: float) -> list[Op]:
    return [Op(name, "elementwise", takes, result, **row) for name in names.split()]  # type: ignore[arg-type]


def _moving(group: str, name: str, record: type) -> Op:
    return Op(name, group, "any", "same", cost=0.0, linear=True, attributes=record)


OPS: dict[str, Op] = {
    op.name: op
    for op in [
        # const: a literal array. noise: the only leaf that changes by draw.
        Op("input", "leaf", cost=0.0, attributes=Input),
        Op("const", "leaf", cost=0.0, attributes=attributes.Literal),
        Op("noise", "leaf", cost=0.0, attributes=NoiseSource),
        *_elementwise("add subtract negative", linear=True),
        # copy: the same values, in rows of their own for each draw
        *_elementwise("copy", "any", "same", linear=True),
        # stop(z) is z without a derivative, implicit(z, F, p) z with the derivative -dF/p: both become z in `simplify`
        *_elementwise("stop implicit", cost=0.0),
        *_elementwise("multiply absolute sign floor ceil minimum maximum nextafter"),
        *_elementwise("where", "any", "same"),
        *_elementwise("float", "bool"),
        *_elementwise("divide reciprocal sqrt", cost=4),
        *_elementwise("exp exp2 log log2 log10 sin cos", cost=12),
        *_elementwise("expm1 log1p tan tanh sinh cosh cbrt hypot expit softplus logaddexp erf", cost=20),
        *_elementwise("arcsin arccos arctan arctan2 arcsinh arccosh arctanh", cost=25),
        # log(z/(1 + a)) of the gamma quantile z at the normal score e, and the slopes of log z in a and in e
        *_elementwise("gamma_log_ratio gamma_slope_a gamma_slope_e", cost=200),
        *_elementwise("power erfc erfcx ndtr log_ndtr ndtri ndtri_exp gammaln digamma trigamma", cost=50),
        *_elementwise("less less_equal equal not_equal isfinite isnan", result="bool"),
        *_elementwise("logical_and logical_or logical_not logical_xor", "bool", "bool"),
        _moving("view", "reshape", attributes.Reshape),
        _moving("view", "transpose", attributes.Transpose),
        _moving("view", "broadcast", attributes.Broadcast),
        _moving("view", "slice", attributes.Slice),
        _moving("view", "flip", attributes.Flip),
        _moving("view", "take", attributes.Take),
        _moving("assembly", "pad", attributes.Pad),
        _moving("assembly", "concatenate", attributes.Concatenate),
        Op("scatter_add", "reduction", linear=True, attributes=attributes.ScatterAdd),
        Op("sum", "reduction", linear=True, attributes=attributes.Reduce),
        *(Op(name, "reduction", attributes=attributes.Reduce) for name in ("prod", "max", "min")),
        Op("cumsum", "scan", linear=True, attributes=attributes.Scan),
        *(Op(name, "scan", attributes=attributes.Scan) for name in ("cumprod", "linear_recurrence")),
        Op("einsum", "contraction", attributes=attributes.Einsum),
        # an array made by the host of each number of a draw-independent array
        Op("table", "table", cost=0.0, attributes=attributes.Lookup),
        *(Op(name, "native", cost=20.0, attributes=attributes.Call) for name in ("native_value", "native_gradient")),
    ]
}


def _group(name: str) -> frozenset[str]:
    return frozenset(op.name for op in OPS.values() if op.group == name)


VIEWS = _group("view")  # change only where elements are read
ASSEMBLY = _group("assembly")  # are computed by computing their parts in the right place
REDUCTIONS = _group("reduction")  # have rows that are added to, which are rows of nothing else
