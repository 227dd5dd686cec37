"""The closed table of ops: everything a Program can say.

Every interpretation (shape, meaning, derivative, CPU text, CUDA text) is a dict keyed by these names. An op is
*elementwise* (any number of arguments of one shape), a *view* (says where elements are read, computes nothing), an
*assembly* (puts the elements of its arguments in their places), a *gather* (reads elements where an argument says), a
*scatter* (adds them up there), a *reduction*, a *scan*, a *contraction*, a function of *matrices*, a *table*, a
*native* function of the user's, a *loop*, or a *leaf*. NumPy's own names are used wherever NumPy has the function.
"""

from dataclasses import dataclass
from types import NoneType
from typing import Any

from mcgrad.ir import attributes
from mcgrad.ir.spaces import Input
from mcgrad.noise.source import NoiseSource


@dataclass(frozen=True)
class Op:
    """One row of the table.

    Parameters
    ----------
    name : str
    category : str
        One of those above.
    takes : {"float", "bool", "any"}
        What kind of values the arguments have. "any" is one kind for all, but for the condition of a `where`.
    result : {"float", "bool", "same"}
        The kind of the result; "same" is that of the last argument.
    cost : float
        Rough cost of one element, in units of one multiplication. The cost model reads it, nothing else.
    linear : bool
        Whether the op is linear in all its float arguments taken together.
    commutative : bool
        Whether the order of the arguments changes nothing.
    derivative : {"smooth", "jumps", "zero", "ends"}
        Of all orders, wherever the op has a value; or it jumps at single points between, as that of the absolute value;
        it is zero at all points but those where the op itself jumps; or it exists inside of a domain alone, at whose
        end it is infinite (`differentiate.domains`; of functions of matrices, and of the user's, it is not known).
    source : {"numpy", "scipy.special", "mcgrad"}
        Whose function of this name it is: the interpreter calls that, and traced calls of it become the op.
    attributes : type
        The record of what an equation says besides its arguments.
    """

    name: str
    category: str
    takes: str = "float"
    result: str = "float"
    cost: float = 1.0
    linear: bool = False
    commutative: bool = False
    derivative: str = "smooth"
    source: str = "mcgrad"
    attributes: type = NoneType


def _elementwise(source: str, names: str, takes: str = "float", result: str = "float", **row: Any) -> list[Op]:
    return [Op(name, "elementwise", takes, result, source=source, **row) for name in names.split()]


def _moving(category: str, name: str, record: type) -> Op:
    return Op(name, category, "any", "same", cost=0.0, linear=True, attributes=record)


OPS: dict[str, Op] = {
    op.name: op
    for op in [
        # const: a literal array. noise: the only leaf that changes by draw.
        Op("input", "leaf", cost=0.0, attributes=Input),
        Op("const", "leaf", cost=0.0, attributes=attributes.Literal),
        Op("noise", "leaf", cost=0.0, attributes=NoiseSource),
        Op("argument", "leaf", cost=0.0, attributes=attributes.Argument),  # of the body of a loop
        # copy: the same values, in rows of their own for each draw
        *_elementwise("mcgrad", "copy", "any", "same", linear=True),
        # stop(z) is z without a derivative, implicit(z, F, p) z with the derivative -dF/p: both become z in `simplify`
        *_elementwise("mcgrad", "stop implicit", cost=0.0),
        # vibrato_step(x, eps) is x, held, that noise eps made; vibrato_mean(y, steps) is y, a mean over such steps
        *_elementwise("mcgrad", "vibrato_step vibrato_mean", cost=0.0),
        # float: 1 for True, 0 for False
        *_elementwise("mcgrad", "float", "bool"),
        *_elementwise("numpy", "add", linear=True, commutative=True),
        *_elementwise("numpy", "subtract negative", linear=True),
        *_elementwise("numpy", "multiply", commutative=True),
        *_elementwise("numpy", "minimum maximum", commutative=True, derivative="jumps"),
        *_elementwise("numpy", "absolute", derivative="jumps"),
        *_elementwise("numpy", "sign floor ceil", derivative="zero"),
        *_elementwise("numpy", "nextafter"),
        *_elementwise("numpy", "where", "any", "same"),
        *_elementwise("numpy", "divide reciprocal sqrt", cost=4, derivative="ends"),
        *_elementwise("numpy", "exp exp2 sin cos", cost=12),
        *_elementwise("numpy", "log log2 log10", cost=12, derivative="ends"),
        *_elementwise("numpy", "expm1 tanh sinh cosh logaddexp", cost=20),
        *_elementwise("numpy", "log1p tan cbrt hypot", cost=20, derivative="ends"),
        *_elementwise("numpy", "arctan arcsinh", cost=25),
        *_elementwise("numpy", "arcsin arccos arctan2 arccosh arctanh", cost=25, derivative="ends"),
        *_elementwise("numpy", "power", cost=50, derivative="ends"),
        *_elementwise("numpy", "less less_equal", result="bool", derivative="zero"),
        *_elementwise("numpy", "isfinite isnan", result="bool"),
        *_elementwise("numpy", "equal not_equal", result="bool", commutative=True, derivative="zero"),
        *_elementwise("numpy", "logical_and logical_or logical_xor", "bool", "bool", commutative=True),
        *_elementwise("numpy", "logical_not", "bool", "bool"),
        *_elementwise("scipy.special", "expit erf", cost=20),
        *_elementwise("scipy.special", "erfc erfcx ndtr log_ndtr", cost=50),
        *_elementwise("scipy.special", "ndtri ndtri_exp gammaln digamma", cost=50, derivative="ends"),
        *_elementwise("mcgrad", "softplus log_cosh", cost=20),
        *_elementwise("mcgrad", "trigamma", cost=50, derivative="ends"),
        # log(z/(1 + a)) of the gamma quantile z at the normal score e, and the slopes of log z in a and in e
        *_elementwise("mcgrad", "gamma_log_ratio gamma_slope_a gamma_slope_e", cost=200),
        _moving("view", "reshape", attributes.Reshape),
        _moving("view", "transpose", attributes.Transpose),
        _moving("view", "broadcast", attributes.Broadcast),
        _moving("view", "slice", attributes.Slice),
        _moving("view", "flip", attributes.Flip),
        _moving("view", "take", attributes.Take),
        _moving("view", "part", attributes.Part),
        _moving("assembly", "pad", attributes.Pad),
        _moving("assembly", "concatenate", attributes.Concatenate),
        # elements along an axis at indices that are numbers of each draw
        Op("gather", "gather", cost=4.0, attributes=attributes.Gather),
        # elements of the first argument added up at places that are numbers of each draw: what a gather is backwards
        Op("scatter", "scatter", attributes=attributes.Scatter),
        Op("scatter_add", "reduction", linear=True, attributes=attributes.ScatterAdd),
        Op("sum", "reduction", linear=True, attributes=attributes.Reduce),
        Op("prod", "reduction", attributes=attributes.Reduce),
        *(Op(name, "reduction", derivative="jumps", attributes=attributes.Reduce) for name in ("max", "min")),
        Op("cumsum", "scan", linear=True, attributes=attributes.Scan),
        *(Op(name, "scan", attributes=attributes.Scan) for name in ("cumprod", "linear_recurrence")),
        Op("einsum", "contraction", attributes=attributes.Einsum),
        # of the matrices in the last two axes: `simplify` makes loops and equations of those that draws change
        *(Op(name, "matrices") for name in ["det", "cofactors"]),
        *(Op(name, "matrices", derivative="ends") for name in ["cholesky", "slogdet", "eigvalsh", "eigenvectors"]),
        *(Op(n, "matrices", derivative="ends", attributes=attributes.Solve) for n in ("solve", "solve_triangular")),
        # all results of a body that runs many times, in one vector, of which `part` equations read
        Op("loop", "loop", attributes=attributes.Loop),
        # an array made by the host of each number of a draw-independent array
        Op("table", "table", cost=0.0, attributes=attributes.Lookup),
        *(
            Op(name, "native", cost=20.0, derivative="ends", attributes=attributes.Call)
            for name in ("native_value", "native_gradient")
        ),
    ]
}


def from_source(source: str) -> list[str]:
    """Return the names of the ops that are functions of NumPy or of scipy.special."""
    return [op.name for op in OPS.values() if op.source == source]


def _of_category(category: str) -> frozenset[str]:
    return frozenset(op.name for op in OPS.values() if op.category == category)


def of_derivative(*kinds: str) -> frozenset[str]:
    """Return the names of the ops whose derivatives are of some kinds."""
    return frozenset(op.name for op in OPS.values() if op.derivative in kinds)


COMMUTATIVE = frozenset(op.name for op in OPS.values() if op.commutative)
VIEWS = _of_category("view")  # change only where elements are read
ASSEMBLY = _of_category("assembly")  # are computed by computing their parts in the right place
REDUCTIONS = _of_category("reduction")  # have rows that are added to, which are rows of nothing else
