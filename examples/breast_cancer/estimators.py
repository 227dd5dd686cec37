"""The ELBO of the logistic regression by every estimator: how much variance each has, and what it gives for its time.

Written as `mg.elbo` of a log joint and a normal distribution, at the variational parameters of variational.csv, and a
second time at a broad q far from the optimum, where things look otherwise.

    python examples/breast_cancer/estimators.py [--n DRAWS] [--markdown FILE]
"""

import argparse
from pathlib import Path

import model
import numpy as np

import mcgrad as mg

PLACES = {"at the optimum": 1.0, "far from it": 0.0}
START, END = "<!-- variances: examples/breast_cancer/estimators.py -->", "<!-- end of variances -->"


def log_joint(w, *, tau, X, y):
    """log p(y, w)."""
    logits = X @ w
    log_prior = np.sum(0.5 * np.log(tau) - 0.5 * tau * w**2 - model.HALF_LOG_2PI)
    return np.sum(y * logits - np.logaddexp(0, logits)) + log_prior


def family(share):
    """Normal between loc 0, scale 0.5 (share 0) and the parameters of variational.csv (share 1)."""
    params = model.posterior().params
    return mg.Normal(share * params["loc"], 0.5 * (params["scale"] / 0.5) ** share)


def compare(share, n, **options):
    """Compare all estimators of the gradient in q's parameters."""
    objective = mg.elbo(log_joint, family(share))
    options = {"dtype": "float32", "threads": 1, **options}  # one: what else runs disturbs it less
    return mg.compare(objective, n=n, params={"tau": 1.0}, data=model.data(), wrt=["loc", "scale"], **options)


def table(found):
    """A table in Markdown: variances relative to the pathwise estimator's, by parameter, and efficiencies."""
    base = found["pathwise"]
    half = len(base.variance) // 2
    lines = [
        "| method | variance in `loc` | in `scale` | time of a draw | efficiency |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in sorted(found.rows, key=lambda row: -row.overall):
        ratios = [row.variance[part].sum() / base.variance[part].sum() for part in (slice(half), slice(half, None))]
        gain = row.overall / base.overall
        cells = [f"`{row.method}`", *(f"{x:.3g}" for x in (*ratios, row.seconds / base.seconds, gain))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(tables, path):
    """Put the tables between the marks of a page."""
    text = Path(path).read_text()
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    body = "\n\n".join(f"{place[0].upper()}{place[1:]}:\n\n{lines}" for place, lines in tables.items())
    Path(path).write_text(f"{before}{START}\n\n{body}\n\n{END}{after}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=64_000)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--markdown", metavar="FILE", help="a page with marks, to put the tables into")
    args = parser.parse_args(argv)
    found = {place: compare(share, args.n, backend=args.backend) for place, share in PLACES.items()}
    for place, one in found.items():
        print(f"{place}\n\n{table(one)}\n")
    if args.markdown:
        write({place: table(one) for place, one in found.items()}, args.markdown)
    return found


if __name__ == "__main__":
    main()
