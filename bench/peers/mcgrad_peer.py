"""mcgrad through its public interface; it computes standard errors of every component as well."""

import mcgrad as mg

VERSION = f"mcgrad {mg.__version__}"


def distribution(q):
    return mg.MultivariateNormal(**q) if "scale_tril" in q else mg.Normal(**q)


def estimator(problem, dtype, threads):
    """The compiled estimator of a problem."""
    return mg.Estimator(
        problem.f,
        distribution(problem.q),
        params=problem.params,
        data=problem.data,
        wrt=problem.wrt,
        dtype=dtype,
        backend="cpu",
        threads=threads,
    )


def make(problem, dtype, threads):
    compiled, n = estimator(problem, dtype, threads), problem.draws[dtype]

    def run(seed):
        est = compiled(n, seed=seed)
        return est.value, {name: est.grad[name] for name in problem.wrt}

    return run
