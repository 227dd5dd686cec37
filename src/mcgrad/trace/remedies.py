"""Remedies for NumPy's and SciPy's functions that cannot be traced: what to write instead, by name."""

from __future__ import annotations

SORTING = "use np.argsort, np.sort, np.argmax or np.where, which choose by value"
QUANTILES = "NaNs of a draw spoil its result, and are counted; use np.median or np.quantile of x without them"
LEAST_SQUARES = "solve the normal equations, np.linalg.solve(a.T @ a, a.T @ b), of columns that are independent"
FACTORS = (
    "use np.linalg.svdvals for singular values, np.linalg.eigh(x.T @ x) for right singular vectors, "
    "and np.linalg.cholesky(x.T @ x).T for R"
)
COUNTING = "how many elements it finds depends on the draw; use np.where(condition, a, b) or sum with weights"
CLOSE = "compare the size of the difference, np.abs(x - y) <= tolerance"
STORING = "build a new array with np.where(mask, value, z), or z = mg.at(z, index).set(value)"
PIECES = "use np.where(condition, a, b), nested, or np.select"
LOOPING = "call the function on whole arrays, or on z[i] for each i and np.stack what it returns"
NAN = "NaNs of a draw spoil its result, and are counted: leave such elements out by np.where(condition, x, 0.0)"

FUNCTIONS: dict[str, str] = {
    # choosing by value
    **dict.fromkeys(("argpartition", "lexsort", "unique", "sort_complex"), SORTING),
    **dict.fromkeys(("nanmedian", "nanquantile", "nanpercentile"), QUANTILES),
    **dict.fromkeys(("nanargmax", "nanargmin"), "of x without NaNs use np.argmax or np.argmin"),
    **dict.fromkeys(("nonzero", "flatnonzero", "argwhere", "compress", "extract"), COUNTING),
    **dict.fromkeys(("histogram", "histogram2d", "bincount"), "count by np.sum((a <= x) & (x < b)) for each bin"),
    "isin": "use np.any(x[:, None] == values, axis=1)",
    # numbers
    **dict.fromkeys(("round", "round_", "around", "rint", "fix"), "use np.floor(z + 0.5), or np.trunc"),
    **dict.fromkeys(("isclose", "allclose"), CLOSE),
    **dict.fromkeys(("nansum", "nanmean", "nanstd", "nanvar", "nanmax", "nanmin", "nanprod"), NAN),
    "modf": "use np.trunc(z) and z - np.trunc(z)",
    "unwrap": "use differences modulo 2 pi, np.diff(z) % (2 * np.pi)",
    "i0": "sum its series, or give its logarithm's table in data=",
    # products
    "correlate": "use np.convolve(x, w[::-1], mode), which is the same where w is not longer than x",
    **dict.fromkeys(("cov", "corrcoef"), "center the rows and multiply, (x - m) @ (x - m).T / (n - 1)"),
    "gradient": "use np.diff, or slices, (x[2:] - x[:-2]) / 2",
    **dict.fromkeys(("lstsq", "pinv"), LEAST_SQUARES),
    **dict.fromkeys(("svd", "qr"), FACTORS),
    **dict.fromkeys(("eig", "eigvals"), "use np.linalg.eigh or np.linalg.eigvalsh, of a symmetric matrix"),
    "matrix_rank": "count np.linalg.svdvals(x) > tolerance",
    **dict.fromkeys(("tensorsolve", "tensorinv"), "reshape to matrices, for np.linalg.solve or np.linalg.inv"),
    "multi_dot": "use @, whose products are ordered by size",
    # shapes
    "block": "use np.concatenate along each axis",
    "rot90": "use np.flip and np.transpose",
    **dict.fromkeys(("insert", "delete", "resize", "trim_zeros"), "use slices and np.concatenate"),
    **dict.fromkeys(("linspace", "logspace", "geomspace"), "use a + (b - a) * np.linspace(0.0, 1.0, n)"),
    **dict.fromkeys(("copyto", "put", "place", "putmask", "put_along_axis", "fill_diagonal"), STORING),
    **dict.fromkeys(("apply_along_axis", "apply_over_axes"), LOOPING),
    **dict.fromkeys(("fft", "ifft", "rfft", "irfft"), "use a matrix of sines and cosines, given in data="),
    # scipy.special
    "gamma": "use np.exp(scipy.special.gammaln(z)) where z > 0",
    "beta": "use np.exp(scipy.special.betaln(a, b))",
    "erfinv": "use scipy.special.ndtri((z + 1) / 2) / np.sqrt(2)",
    "erfcinv": "use -scipy.special.ndtri(z / 2) / np.sqrt(2)",
    **dict.fromkeys(("binom", "comb", "factorial", "poch", "multigammaln"), "use np.exp of scipy.special.gammaln"),
    "softplus": "use np.logaddexp(0.0, z)",
    "exprel": "use np.expm1(z) / z",
    "log1p": "use np.log1p",
    "huber": "use np.where(np.abs(z) <= d, z**2 / 2, d * (np.abs(z) - d / 2))",
}  # fmt: skip
