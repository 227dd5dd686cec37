import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cli import main
from mcgrad.engine import finite_differences

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(monkeypatch):
    """Import an example as its own folder would."""
    before = set(sys.modules)

    def load(path):
        monkeypatch.syspath_prepend(str((EXAMPLES / path).parent))
        return __import__(Path(path).stem)

    yield load
    for name in set(sys.modules) - before:
        if str(EXAMPLES) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_breast_cancer_data(example):
    model = example("breast_cancer/model.py")
    features, y = model.read()
    assert features.shape == (569, 30)
    assert y.sum() == 212  # malignant
    assert len(model.names()) == 30
    X = model.data()["X"]
    assert X.shape == (569, 31)
    np.testing.assert_allclose(X[:, 1:].mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(X[:, 1:].std(axis=0), 1)
    assert features[y == 1, 0].mean() > features[y == 0, 0].mean() + 4  # malignant tumours are larger


def test_breast_cancer_job(tmp_path, capsys):
    job = str(EXAMPLES / "breast_cancer" / "job.toml")
    assert main(["run", job, "--n", "4000", "--out", str(tmp_path)]) == 0
    assert "NOT OK" not in capsys.readouterr().out
    est = mg.Estimate.from_json((tmp_path / "elbo.json").read_text())
    assert (est.n, est.dtype) == (4000, "float32")
    assert abs(est.value + 67.45) < 5 * est.stderr + 0.05
    for name in ("loc", "scale"):  # variational.csv is near the maximum
        assert np.abs(est.grad[name] / est.grad_stderr[name]).max() < 6


def test_breast_cancer_gradient_is_that_of_the_elbo(example):
    model = example("breast_cancer/model.py")
    found = mg.verify(
        model.elbo, model.posterior(), 2000, params={"tau": 1.0}, data=model.data(), backends=["numpy"], components=3
    )
    assert found.ok, str(found)


def test_elbo_counts_the_entropy(example):
    """Its gradient is that of the log joint and of the closed-form entropy of q."""
    model = example("breast_cancer/model.py")
    q, data = model.posterior(), model.data()
    normal = mg.Normal(**q.params)

    def log_joint(w, *, tau, X, y):
        return model.elbo({"w": w, "log_q": 0.0}, tau=tau, X=X, y=y)

    common = {"n": 2000, "params": {"tau": 1.0}, "data": data, "wrt": ["loc", "scale"], "backend": "numpy"}
    elbo, joint = mg.estimate(model.elbo, q, **common), mg.estimate(log_joint, normal, **common)
    np.testing.assert_allclose(elbo.grad["loc"], joint.grad["loc"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(elbo.grad["scale"], joint.grad["scale"] + 1 / q.params["scale"], rtol=1e-9, atol=1e-9)
    entropy = np.sum(np.log(q.params["scale"])) + 31 / 2 * np.log(2 * np.pi * np.e)
    assert abs(elbo.value - joint.value - entropy) < 5 * np.hypot(elbo.stderr, joint.stderr)


def test_fit(example, tmp_path, capsys):
    fit = example("breast_cancer/fit.py")
    csv_path, png = tmp_path / "v.csv", tmp_path / "out" / "fit.png"
    fit.main(["--steps", "60", "--plot", str(png), "--save", str(csv_path)])
    printed = capsys.readouterr().out
    assert float(printed.split("patients, ")[1].split("%")[0]) > 90
    assert png.read_bytes()[:4] == b"\x89PNG"
    with csv_path.open() as file:
        assert len(list(csv.reader(file))) == 32


def test_asian_option(example, capsys):
    option = example("asian_option.py")
    z = option.main(["--n", "20000"])
    assert set(z) == {"price", "delta", "vega", "rho"}
    assert max(abs(x) for x in z.values()) < 5
    printed = capsys.readouterr().out
    assert "arithmetic" in printed
    exact, h = option.geometric_formula(**option.MARKET), 1e-5
    for greek, name in (("delta", "spot"), ("vega", "vol"), ("rho", "rate")):
        up, down = (option.geometric_formula(**{**option.MARKET, name: option.MARKET[name] + s}) for s in (h, -h))
        assert exact[greek] == pytest.approx((up["price"] - down["price"]) / (2 * h), rel=1e-6)


def test_one_dimension(example, tmp_path, capsys):
    one = example("one_dimension.py")
    value, gradient = one.exact()
    for est in one.estimates(2000).values():
        errors = [(est.value - value) / est.stderr]
        errors += [(est.grad[name] - gradient[name]) / est.grad_stderr[name] for name in one.PHI]
        assert np.abs(errors).max() < 4.5
    h = 1e-5
    for name, at in one.PHI.items():
        up, down = (one.exact(**{name: at + step})[0] for step in (h, -h))
        assert gradient[name] == pytest.approx((up - down) / (2 * h), rel=1e-6)
    found = one.deviations(np.array([0.1, 2.0]), n=4000)
    assert found["score"]["loc"][0] > 10 * found["pathwise"]["loc"][0]
    assert found["score"]["loc"][1] < found["pathwise"]["loc"][1]
    png = tmp_path / "one.png"
    one.main(["--n", "100", "--figure", str(png)])
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert "score, 40 rows of 100 draws" in capsys.readouterr().out


def test_tutorial():
    page = (EXAMPLES.parent / "docs" / "tutorial.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    namespace = {}
    for code in blocks:
        exec(compile(code, "tutorial.md", "exec"), namespace)


def test_strikes(example, capsys):
    strikes = example("strikes.py")
    z = strikes.main(["--n", "20000", "--backend", "numpy"])
    assert z["price"].shape == z["delta"].shape == z["vega"].shape == (60,)
    assert max(np.max(np.abs(x)) for x in z.values()) < 5
    assert "the whole book" in capsys.readouterr().out
    exact, h = strikes.formula(**strikes.MARKET), 1e-5
    for greek, name in (("delta", "spot"), ("vega", "vol")):
        up, down = (strikes.formula(**{**strikes.MARKET, name: strikes.MARKET[name] + s}) for s in (h, -h))
        np.testing.assert_allclose(exact[greek], (up["price"] - down["price"]) / (2 * h), rtol=1e-6)


def test_batch(example, tmp_path, capsys):
    model = example("batch/model.py")
    options = ["--n", "200000", "--backend", "numpy", "--out", str(tmp_path)]
    assert main(["run", str(EXAMPLES / "batch" / "strikes.toml"), *options]) == 0
    assert "3 jobs: 3 done" in capsys.readouterr().out
    for name, strike in (("in-the-money", 80), ("at-the-money", 100), ("out-of-the-money", 120)):
        est = mg.Estimate.from_json((tmp_path / f"{name}.json").read_text())
        exact = model.black_scholes(100, 0.2, 0.05, strike)
        assert abs(est.value - exact["price"]) < 5 * est.stderr
        assert all(abs(est.grad[path] - exact[path]) < 5 * est.grad_stderr[path] for path in est.grad)
    assert main(["run", str(EXAMPLES / "batch" / "strikes.toml"), *options, "--resume"]) == 0
    assert "3 jobs: 3 complete already" in capsys.readouterr().out


def test_estimator_variance(example, tmp_path, capsys):
    """The variances that have closed forms: z-scores would need kurtoses, so 5% of 40,000 draws."""
    variance = example("estimator_variance.py")
    png = tmp_path / "out" / "variance.png"
    found = variance.main(["--n", "40000", "--backend", "numpy", "--plot", str(png)])
    assert png.read_bytes()[:4] == b"\x89PNG"
    assert "measure-valued, coupled" in capsys.readouterr().out
    name = next(iter(found))
    ks = variance.FUNCTIONS[name][1]
    np.testing.assert_allclose(found[name]["pathwise"]["loc"], 4.0, rtol=0.05)
    np.testing.assert_allclose(found[name]["pathwise"]["scale"], 4 * (1 - ks) ** 2 + 8, rtol=0.05)
    rayleigh = (1 - ks) ** 2 * 16 * (2 - np.pi / 2) / (2 * np.pi)  # of c (f(mu + W) - f(mu - W)) = 4 c (mu - k) W
    np.testing.assert_allclose(found[name]["measure_valued"]["loc"], rayleigh, rtol=0.05, atol=1e-12)


def test_breast_cancer_estimators(example, tmp_path, monkeypatch):
    monkeypatch.setattr(finite_differences, "FEW", 400)  # draws of a comparison with differences, by every method
    estimators = example("breast_cancer/estimators.py")
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{estimators.START}\nold\n{estimators.END}\n\nafter\n")
    found = estimators.main(["--n", "400", "--backend", "numpy", "--markdown", str(page)])
    for one in found.values():
        base = one["pathwise"].variance
        assert one["stl"].variance.sum() < 1.1 * base.sum()
        assert one["score"].variance.sum() > 20 * one["score+mean"].variance.sum() / 10 > 10 * base.sum()
        assert one.biased == {}
    text = page.read_text()
    assert text.startswith("before")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("| `measure_valued` |") == 2
