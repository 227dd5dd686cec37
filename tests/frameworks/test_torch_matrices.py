"""Linear algebra of PyTorch in `from_torch`: PyTorch's numbers and derivatives, and few equations for any size."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.ir import build
from mcgrad.ir.program import toposort
from mcgrad.trace.trace import trace
from tests.frameworks.of_torch import agrees, joined, torch

linalg, D = torch.linalg, torch.distributions

RNG = np.random.default_rng(0)
S, TALL = RNG.standard_normal((5, 5)), RNG.standard_normal((4, 3))
B = torch.tensor(RNG.standard_normal((5, 2)))
PD = S @ S.T + np.eye(5)
SEVERAL = np.stack([PD, S, 2 * PD])
MANY_PD = np.stack([PD, PD + 0.3 * np.eye(5), 2 * PD])
ONES = torch.ones(5, dtype=torch.float64)


def symmetric(a):
    return (a + a.mT) / 2


def factor(a):
    return linalg.cholesky(symmetric(a))


def of_eigenvectors(a):
    values, vectors = linalg.eigh(symmetric(a))
    return vectors @ torch.diag(torch.exp(values / 9)) @ vectors.T


def lu_solve(a, left=True, **options):
    right = B if left else B.mT
    return linalg.lu_solve(*linalg.lu_factor(a), right, left=left, **options)


FUNCTIONS = {
    "cholesky": (factor, MANY_PD),
    "upper": (lambda a: linalg.cholesky(symmetric(a), upper=True), PD),
    "solve": (lambda a: linalg.solve(a, B), SEVERAL),
    "solve for vectors": (lambda a: (linalg.solve(a, a[:, 0]), linalg.solve(a[0], B[:, 0])), SEVERAL),
    "solve from the right": (lambda a: linalg.solve(a, B.mT, left=False), S),
    "solve by vmap": (torch.vmap(lambda a: linalg.solve(a, a[0] * a[1])), SEVERAL),
    "inv": (lambda a: (linalg.inv(a), linalg.inv_ex(a)[0]), SEVERAL),
    "det": (linalg.det, SEVERAL),
    "slogdet": (linalg.slogdet, S),
    "logdet": (lambda a: torch.logdet(symmetric(a)), MANY_PD),
    "derivative of logdet": (torch.func.grad(lambda a: torch.logdet(symmetric(a))), PD),
    "eigh": (of_eigenvectors, PD),
    "eigvalsh": (lambda a: linalg.eigvalsh(symmetric(a)), MANY_PD),
    "svdvals": (lambda a: (linalg.svdvals(a), linalg.norm(a, 2), linalg.norm(a, "nuc")), TALL),
    "triangular": (lambda a: linalg.solve_triangular(a, B, upper=False), MANY_PD),
    "triangular from the right": (lambda a: linalg.solve_triangular(a, B.mT, upper=True, left=False), PD),
    "unit diagonal": (lambda a: linalg.solve_triangular(a, B, upper=True, unitriangular=True), PD),
    "cholesky_solve": (lambda a: (torch.cholesky_solve(B, factor(a)), torch.cholesky_inverse(factor(a))), PD),
    "upper cholesky_solve": (lambda a: torch.cholesky_solve(B, factor(a).mT, upper=True), PD),
    "lu_solve": (lambda a: (lu_solve(a), lu_solve(a, adjoint=True)), S),
    "lu_solve from the right": (lambda a: (lu_solve(a, left=False), lu_solve(a, left=False, adjoint=True)), S),
    "lu": (linalg.lu, S),
    "lu of few columns": (linalg.lu, TALL),
    "lu_unpack": (lambda a: torch.lu_unpack(*linalg.lu_factor(a)), SEVERAL),
    "covariance": (lambda a: D.MultivariateNormal(a[0], symmetric(a)).log_prob(B[:, 0]), PD),
    "precision": (lambda a: D.MultivariateNormal(a[0], precision_matrix=symmetric(a)).log_prob(B[:, 0]), PD),
    "divergence": (
        lambda a: D.kl_divergence(
            D.MultivariateNormal(a[0], scale_tril=factor(a)), D.MultivariateNormal(ONES, torch.diag(ONES))
        ),
        PD,
    ),
    "low rank": (lambda a: D.LowRankMultivariateNormal(ONES[:4], a, ONES[:4]).log_prob(a[:, 0]), TALL),
    "wishart": (lambda a: D.Wishart(torch.tensor(7.0), torch.diag(ONES)).log_prob(symmetric(a)), PD),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_derivatives_are_those_of_torch(name):
    agrees(*FUNCTIONS[name], (1e-9, 1e-9), (1e-7, 1e-8))


@pytest.mark.parametrize(
    "f",
    [
        linalg.inv,
        factor,
        torch.logdet,
        lambda a: linalg.lu_solve(*linalg.lu_factor(a), a),
        lambda a: D.MultivariateNormal(a[0], a).log_prob(a[1]),
        lambda a: linalg.solve_triangular(a, a, upper=True),
    ],
)
def test_equations_are_as_many_for_any_number_of_rows(f):
    def size(n):
        return len(list(toposort([trace(mg.from_torch(joined(f)), (build.input_("a", (n, n)),), {})])))

    assert size(6) == size(30) < 60


@pytest.mark.parametrize(("f", "named", "remedy"), [
    (lambda z: linalg.svd(z).U.sum(), "besides its value", "torch.linalg.eigh"),
    (lambda z: linalg.qr(z).Q.sum(), "aten.linalg_qr", "torch.linalg.cholesky"),
    (lambda z: linalg.pinv(z).sum(), "aten.linalg_pinv", "torch.linalg.solve"),
    (lambda z: linalg.eigvals(z).real.sum(), "aten.linalg_eig", "no draw changes"),
])  # fmt: skip
def test_refused_with_the_line_of_f_and_the_remedy(f, named, remedy):
    with pytest.raises(mg.TraceError) as caught:
        mg.estimate(mg.from_torch(f), mg.Normal(np.eye(3), 1.0), 100)
    assert named in caught.value.message
    assert remedy in caught.value.message
    assert (caught.value.filename, caught.value.lineno) == (__file__, f.__code__.co_firstlineno)
