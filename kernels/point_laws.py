"""Laws by inversion: an integer of a point set into a uniform on (0, 1) or a standard normal (docs/draws.md).

An integer k of b bits has a tail of probability v = (m + 1/2) 2**-b, m = min(k, ~k). Its uniform is v in the lower half
of the integers, 1 - v in the upper; its normal is x(v), negative in the lower half, with x the quantile function:

- near the middle, v >= 2**-14, x = d (sqrt(2 pi) + c(t) N(t) / M(t)) with d = 1/2 - v, which has all its digits, as it
  is made from an integer of its own. In float32 t = sqrt(v (1 - v)) and c = 1/2 - t, relative error 1.7e-8: in 13
  octaves of v a root serves, and costs less than a logarithm. In float64 t = c = -log2(4 v (1 - v)), relative error
  7e-17; the logarithm is 2 atanh y / ln 2 with y = (1/4 - s) / (1/4 + s), whose division costs less than the twelve
  multiply-adds that it saves.
- in the tails x = a r - N(r) / M(r) with r = sqrt(-log v) and a near sqrt(2); relative error 4e-9, and 3e-18.

M. B. Giles, Approximating the erfinv function (GPU Computing Gems, 2011), also takes functions of v (1 - v) in the
middle and of a root of a logarithm in the tails. N and M here are our own, by Remez' algorithm with 45 digits. The
ratio is a correction of the first term, so that its rounding errors count less than once, and M has positive
coefficients, so that nothing cancels. Normals are within 4 units in the last place of the exact quantile: in float32
within 3.76, of all integers; in float64 within 2.5 of the 7,000 that were tried.
"""

from numba import int32, uint64

from mcgrad.kernels.formats import bits_float, float_bits, real, sint, uint
from mcgrad.kernels.intrinsics import divide_in_range, fma, polynomial, root_of_normal, select, square_root
from mcgrad.kernels.logarithm import log_reduced, split
from mcgrad.kernels.widths import by_width, each_width

TOP = by_width(31, 63)  # place of the highest bit
SIGN = by_width(0x80000000, 0x8000000000000000)
LOWER_HALF = by_width(0x7FFFFFFF, 0x7FFFFFFFFFFFFFFF)
UNIT, HALF_UNIT = by_width(2.0**-32, 2.0**-64), by_width(2.0**-33, 2.0**-65)
LARGEST = by_width(1.0 - 2.0**-24, 1.0 - 2.0**-53)  # number below 1
countable = by_width(int32, uint64)  # type from which processors make floats by the fewest instructions
FEWEST = 2.0**-14  # smallest v that `near_middle` is made for
EXPONENT = 0xFFF0000000000000
ROOT_OF_EIGHTH = 0x3FD6A09E667F3BCD  # bits of sqrt(1/8)
# sqrt(2 pi) 2**-b, as d comes in units of 2**-b; in float64 the logarithm comes in units of 2**-52
SLOPE = by_width(5.836199e-10, 1.3588459104842613e-19)
MIDDLE = by_width(
    (7.0709625e-9, 4.228316e-6, 3.9598413e-4, 0.008697761, 0.0464321, 0.042930394),
    (5.4752571986218487e-36, 1.1687524613948879e-52, 6.320311271803945e-69, 1.0184614608249837e-85,
     2.2218687160741353e-102, 2.398393648962253e-119, 2.3823516476460515e-136, 1.2111668588823558e-153,
     3.7465389068470704e-171),
)  # fmt: skip
MIDDLE_BELOW = by_width(
    (1.9067134, 1516.3662, 185966.95, 5685854.5, 4.9587384e+7, 1.2302447e+8, 7.591095e+7),
    (1.0, 1.3684652534381235e-17, 1.2879061535290775e-33, 1.4008578689817923e-50, 5.2032888438087626e-67,
     4.030501435998063e-84, 6.740208992897159e-101, 2.878416853438635e-118, 1.7394506579381895e-135,
     9.082520447163791e-154),
)  # fmt: skip
# 2 atanh y / (y ln 2) 2**52, of y**2
ATANH = (
    1.2994641697113614e16, 4331547232349776.5, 2598928347253720.0, 1856376124492934.2, 1443953084857907.2,
    1176753830527512.2, 1101175558508243.4,
)  # fmt: skip
TAIL_SLOPE = 1.4140625  # near sqrt(2), and the same in both widths
TAIL = by_width(
    (2.3376217, 0.83571434, 0.0054474766),
    (3.1414086544831727, 11.817928474217046, 5.501426768622836, 0.5907285996554763, 0.013180683120271331,
     -1.5132645468144206e-05, -4.626749496354795e-07),
)  # fmt: skip
TAIL_BELOW = by_width(
    (1.0, 1.6996542, 0.26529223),
    (1.0, 7.271483812971015, 8.671367456707795, 2.4358416096113884, 0.1845208853366885, 0.0029873473151045926),
)  # fmt: skip


@each_width
def tail_of(k):
    """(v, m): the probability of the tail of an integer, and how many integers are farther out."""
    m = uint(k ^ uint(sint(k) >> sint(TOP)))
    return fma(real(countable(m)), UNIT, HALF_UNIT), m


@each_width
def logarithm(q):
    """-log2(4 q) 2**52 for 0 < q <= 1/4 in the normal range, in float64."""
    bits = float_bits(q)
    octaves = sint(uint(sint(ROOT_OF_EIGHTH) - bits) & uint(EXPONENT))  # 2**52 for each that q is below sqrt(1/8)
    s = bits_float(bits + octaves)
    y = divide_in_range(0.25 - s, 0.25 + s)
    return fma(y, polynomial(y * y, ATANH), real(uint64(octaves)))


@each_width
def by_root(d, q):
    """(t, c(t) d), in float32."""
    t = root_of_normal(q)
    return t, d * (0.5 - t)


@each_width
def by_logarithm(d, q):
    """(t, c(t) d), in float64."""
    t = logarithm(q)
    return t, d * t


correction = by_width(by_root, by_logarithm)


@each_width
def near_middle(v, m):
    """Quantile of 1 - v for v >= FEWEST."""
    d = real(countable(uint(m ^ uint(LOWER_HALF)))) + 0.5
    t, scaled = correction(d, fma(-v, v, v))
    return fma(d, SLOPE, divide_in_range(scaled * polynomial(t, MIDDLE), polynomial(t, MIDDLE_BELOW)))


@each_width
def in_tail(v):
    """Quantile of 1 - v for smaller v."""
    s, k, _ = split(v)
    r = square_root(-log_reduced(s - 1.0, k))
    return fma(r, TAIL_SLOPE, -divide_in_range(polynomial(r, TAIL), polynomial(r, TAIL_BELOW)))


@each_width
def with_sign(x, k):
    """-x for integers of the lower half, x for those of the upper."""
    return bits_float(sint(float_bits(x) ^ sint(uint(~k) & uint(SIGN))))


@each_width
def inverse_normal_inside(k):
    """`inverse_normal` of integers whose tails are not smaller than FEWEST."""
    v, m = tail_of(k)
    return with_sign(near_middle(v, m), k)


@each_width
def inverse_normal(k):
    """Give the normal of an integer: a branch, which is rare, on a GPU; in loops over lanes LLVM computes both."""
    v, m = tail_of(k)
    if v < FEWEST:
        return with_sign(in_tail(v), k)
    return with_sign(near_middle(v, m), k)


@each_width
def inverse_uniform(k):
    """Give the uniform of an integer; never 0 or 1."""
    v, _ = tail_of(k)
    u = 1.0 - v
    return select(sint(k) < sint(0), select(u < LARGEST, u, LARGEST), v)


inverse_uniform32, inverse_uniform64 = inverse_uniform.float32, inverse_uniform.float64
inverse_normal32, inverse_normal64 = inverse_normal.float32, inverse_normal.float64
inverse_normal_inside32, inverse_normal_inside64 = inverse_normal_inside.float32, inverse_normal_inside.float64
