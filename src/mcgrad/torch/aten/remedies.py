"""The remedies that errors name for operators of PyTorch that cannot be traced."""

from __future__ import annotations

VALUES = (
    "draws, parameters and float data have no value while f is traced; use torch.where for if, and give what shapes or "
    "indices depend on as integers in data="
)
KEYS = (
    "random numbers belong in q, where each draw has its own: mg.Joint(z=q, noise=mg.Normal(0.0, 1.0)); a module with "
    "dropout takes .eval()"
)
UNCHANGED = "make a new tensor, x = x + y for x += y; a module takes .eval(), which keeps it from changing its buffers"
MATRIX = "for a matrix that no draw changes compute it before, and give it in data="
BESIDES = "of torch.linalg.svd these are the vectors: use those of torch.linalg.eigh(x.mT @ x)"
FORWARD = "use torch.func.jacrev, twice for second derivatives"
COUNTING = "how many elements it finds depends on the draw; use torch.where(condition, a, b) or sum with weights"

RANDOM = frozenset(
    ("rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "normal", "normal_",
     "normal_functional", "uniform", "uniform_", "bernoulli", "bernoulli_", "multinomial", "poisson", "exponential",
     "exponential_", "cauchy", "cauchy_", "log_normal", "log_normal_", "geometric", "geometric_", "random", "random_",
     "native_dropout", "dropout", "rrelu_with_noise", "_standard_gamma", "_sample_dirichlet", "binomial")
)  # fmt: skip

REMEDIES: dict[str, str] = {
    **dict.fromkeys(("_local_scalar_dense", "item", "is_nonzero", "equal"), VALUES),
    **dict.fromkeys(("nanmedian", "mode", "unique_dim", "_unique2"), "use torch.sort, torch.median or torch.argsort"),
    **dict.fromkeys(("nonzero", "masked_select", "bincount", "histc"), COUNTING),
    **dict.fromkeys(("linalg_eig", "_linalg_eigvals", "linalg_householder_product", "linalg_ldl_factor_ex"), MATRIX),
    "linalg_qr": "the triangular factor is torch.linalg.cholesky(x.mT @ x, upper=True), but for the signs of its rows",
    **dict.fromkeys(("linalg_pinv", "linalg_lstsq"), "of full rank: torch.linalg.solve(x.mT @ x, x.mT @ y)"),
    "as_strided": "use slices, reshape and transpose",
    "_fft_r2c": "use a matrix of sines and cosines, given in data=",
}  # fmt: skip


def remedy(name: str) -> str:
    """Say what to write instead of an operator."""
    return REMEDIES.get(name, "it is not among the supported operators, which docs/frameworks.md lists")
