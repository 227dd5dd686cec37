"""Second derivatives in `verify` and `compare`: held to differences of the gradient, ranked by variance and time."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad.cli import main
from mcgrad.engine.unseen_kinks import UnseenKinks
from tests.test_second_derivatives import MARKET, call


def exponential(z, *, a):
    return np.array([1.0, 2.0]) * np.exp(0.3 * np.sum(a * z)) + np.sin(z[0] * z[1])


SMOOTH = {
    "blocks": {"hessian": "full"},
    "diagonal": {"hessian": "diag", "dtype": "float32"},
    "product": {"hvp": {"loc": [1.0, 2.0], "a": [0.5, -1.0]}},
    "cotangent": {"hessian": ["a", ("a", "scale")], "cotangent": [1.0, -1.0]},
    "pairs": {"hessian": "diag", "antithetic": True},
    "groups": {"hessian": ["loc"], "method": "score+leave_one_out", "k": 4},
    "baseline": {"hessian": ["loc"], "method": "score+mean"},
    "controls": {"hessian": ["loc"], "control": "linear"},
    "points": {"hessian": ["loc"], "sampler": "sobol"},
    "proposal": {"hessian": ["loc"], "proposal": mg.Normal(np.zeros(2), 2.0)},
    "a difference in one": {"hessian": [("a", "loc")], "method": {"a": "difference"}},
    "a difference in the other": {"hessian": [("a", "loc"), "loc"], "method": {"loc": "difference"}},
    "differences of the gradient": {"hessian": ["loc"], "hessian_method": "difference"},
}


@pytest.mark.parametrize("name", SMOOTH)
def test_verify_compares_second_derivatives_with_differences_of_the_gradient(name):
    q = mg.Normal(np.array([0.3, -0.2]), np.array([1.2, 0.7]))
    found = mg.verify(
        exponential, q, 4000, params={"a": np.array([0.5, 0.8])}, backends="numpy", components=8, **SMOOTH[name]
    )
    assert found.ok, str(found)
    assert 0 < len(found.second) <= 8
    assert all(check.finite_difference != 0 for check in found.second)
    if name == "product":
        assert {check.component for check in found.second} <= {
            f"hvp of value[{i}] in {path}[{j}]" for i in range(2) for path in ("loc", "scale", "a") for j in range(2)
        }
        assert "8 of 12" in str(found)


def test_verify_judges_every_way():
    for f, q, options in (
        (np.abs, mg.Normal(0.3, 1.2), {}),  # score, then pathwise
        (lambda z: z > 0.5, mg.Normal(0.3, 1.2), {"method": "difference"}),  # score twice
        (np.square, mg.Poisson(2.0), {"method": "score"}),
        (np.square, mg.Gamma(2.0, 1.5), {}),
        (lambda z: z[0] * z[1], mg.MultivariateNormal(np.ones(2), scale_tril=np.array([[1.0, 0.0], [0.5, 1.0]])), {}),
        (call, mg.Normal(0.0, 1.0), {"params": MARKET, "wrt": [*MARKET]}),
    ):
        found = mg.verify(f, q, 10_000, hessian="full", backends="numpy", components=64, **options)
        assert found.ok, str(found)
        assert len(found.second) == found.second_components
    assert found.second_components == 4 - 1  # of the second pair one order


def test_verify_finds_a_kink_that_was_differentiated_twice(monkeypatch):
    monkeypatch.setattr(UnseenKinks, "__call__", lambda *_: "")
    found = mg.verify(lambda z: np.sqrt(z**2), mg.Normal(0.3, 1.2), 10_000, hessian=["loc"], backends="numpy")
    assert found.second_method == "pathwise twice"
    assert [check.ok for check in found.gradient] == [True, True]
    assert not found.second[0].ok
    assert not found.ok
    assert "Second derivatives are not those of the gradient." in str(found)


def test_compare_ranks_ways_of_second_derivatives():
    found = mg.compare(np.abs, mg.Normal(0.3, 1.2), 20_000, hessian=["loc"], backend="numpy")
    ways = {row.method: row.estimate.hessian_method for row in found.rows}
    assert ways["pathwise, hessian score"] == "score, then pathwise"
    assert ways["score, hessian score"] == "score twice"
    assert ways["pathwise, hessian difference"] == "pathwise, then difference"
    assert "score, hessian pathwise" not in ways  # the same as the first
    assert "jumps at" in found.refused["pathwise, hessian pathwise"]
    assert found.components == ("d2 / d loc^2",)
    assert not found.biased
    for row in found.rows:
        variance = 20_000 * row.estimate.hessian_stderr["loc"]["loc"] ** 2
        assert row.variance == pytest.approx([variance], rel=0.01)
    assert "hessian  " in str(found)
    assert "score, hessian score: score twice" in str(found)
    given = {"methods": ["pathwise"], "hessian_methods": [None, "difference"], "backend": "numpy"}
    some = mg.compare(np.exp, mg.Normal(0.3, 0.5), 4000, hvp={"scale": 1.0}, **given)
    assert [row.method for row in some.rows] == ["pathwise, hessian chosen", "pathwise, hessian difference"]
    assert some.components == ("hvp in loc", "hvp in scale")
    assert str(some).count("pathwise twice") == 1


def test_compare_names_biased_ways(monkeypatch):
    monkeypatch.setattr(UnseenKinks, "__call__", lambda *_: "")
    given = {"hessian": ["loc"], "methods": ["pathwise"], "hessian_methods": ["pathwise", "score"]}
    found = mg.compare(lambda z: np.sqrt(z**2), mg.Normal(0.3, 1.2), 8000, backend="numpy", **given)
    assert [*found.biased] == ["pathwise, hessian pathwise"]
    assert found.best.method == "pathwise, hessian score"
    for option, said in (({"hessian_methods": "exact"}, "'exact'"), ({"hessian_methods": []}, "none")):
        with pytest.raises(mg.ParameterError, match=rf"^hessian_methods: given {said}"):
            mg.compare(np.exp, mg.Normal(0.3, 1.2), 4000, hessian="diag", **option)
    with pytest.raises(mg.ParameterError, match=r"^hessian_methods: given 'score'; accepted: None without hessian="):
        mg.compare(np.exp, mg.Normal(0.3, 1.2), 4000, hessian_methods="score")


def test_a_job_with_second_derivatives_is_verified(tmp_path, capsys):
    (tmp_path / "model.py").write_text("import numpy as np\nf = lambda z, *, a: np.exp(a * z)\n")
    (tmp_path / "job.toml").write_text(
        'integrand = "model.py:f"\nparams = { a = 0.7 }\nhvp = { a = 1.0, loc = 0.5 }\nn = 4_000\nbackend = "numpy"\n'
        'distribution = { family = "Normal", loc = 0.3, scale = 0.5 }\n'
    )
    assert main(["run", str(tmp_path / "job.toml"), "--verify"]) == 0
    assert "hvp in scale" in capsys.readouterr().out
