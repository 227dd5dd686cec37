"""Parameters of f may nest in dicts as those of q do: the gradient, wrt, calls, files and job files by dotted path."""

import numpy as np
import pytest

import mcgrad as mg
from mcgrad import tree
from mcgrad.cli import main
from mcgrad.results.files import save

N = 400
PATHS = ("loc", "scale", "net.first.w", "net.first.b", "net.last.w", "net.last.s", "tau")
RNG = np.random.default_rng(2)
NET = {"first": {"w": RNG.normal(size=(4, 3)), "b": np.zeros(4)}, "last": {"w": RNG.normal(size=4), "s": 2}}


def network(z, *, net, tau):
    hidden = np.tanh(net["first"]["w"] @ z + net["first"]["b"])
    return tau * net["last"]["s"] * np.sum(net["last"]["w"] * hidden)


def flat(z, *, w, b, v, s, tau):
    return tau * s * np.sum(v * np.tanh(w @ z + b))


def q():
    return mg.Normal(np.linspace(-1, 1, 3), 0.5)


def nested(f=network, **how):
    return mg.Estimator(f, q(), params={"net": NET, "tau": 1.5}, **{"backend": "numpy", **how})


def plain(**how):
    names = {"w": NET["first"]["w"], "b": NET["first"]["b"], "v": NET["last"]["w"], "s": 2, "tau": 1.5}
    return mg.Estimator(flat, q(), params=names, **{"backend": "numpy", **how})


@pytest.mark.parametrize(
    ("backend", "dtype", "method"),
    [
        ("cpu", "float64", "pathwise"),
        ("numpy", "float32", "pathwise"),
        ("numpy", "float64", "score"),
        ("numpy", "float64", {"loc": "score+mean"}),
    ],
)
def test_nesting_changes_no_number(backend, dtype, method):
    how = {"backend": backend, "dtype": dtype, "method": method}
    got, want = nested(**how)(N), plain(**how)(N)
    assert list(tree.flatten(got.grad)) == list(PATHS)
    assert got.value == want.value
    assert got.grad["net"]["last"]["s"] == want.grad["s"]
    np.testing.assert_array_equal(got.grad["net"]["first"]["w"], want.grad["w"])
    np.testing.assert_array_equal(got.grad_stderr["net"]["first"]["b"], want.grad_stderr["b"])


def test_wrt_takes_paths_and_their_beginnings():
    run = nested(wrt=["net.first", "net.last.s"])
    assert run.wrt == ("net.first.w", "net.first.b", "net.last.s")
    assert list(run(N).grad["net"]) == ["first", "last"]
    with pytest.raises(mg.ParameterError, match=r"wrt: given 'net\.middle'; accepted: .*net\.first\.w"):
        nested(wrt="net.middle")


def test_calls_change_any_part():
    other = np.ones((4, 3))
    got = nested()(N, net={"first": {"w": other}}, tau=0.5)
    want = plain()(N, w=other, tau=0.5)
    assert got.value == want.value
    for changes, path, accepted in (
        ({"net": {"first": {"w": np.ones((3, 4))}}}, r"net\.first\.w", r"shape \(4, 3\)"),
        ({"net": {"second": 1.0}}, r"net\.second", r"net\.first\.w, net\.first\.b"),
        ({"net": 1.0}, "net", r"net\.first\.w"),
        ({"tau": {"a": 1.0}}, r"tau\.a", "tau"),
        ({"net": {"last": {"s": np.inf}}}, r"net\.last\.s", "finite"),
    ):
        with pytest.raises(mg.ParameterError, match=rf"^{path}: given .*; accepted: .*{accepted}"):
            nested()(N, **changes)


def test_an_objective_an_integrand_and_verify_take_them():
    bound = mg.elbo(lambda z, *, prior: -0.5 * np.sum(((z - prior["loc"]) / prior["scale"]) ** 2), q())
    est = mg.estimate(bound, n=N, params={"prior": {"loc": np.ones(3), "scale": 2.0}}, backend="numpy")
    exact = (q().params["loc"] - 1.0) / 4.0  # the mean of (z - loc) / scale^2
    z = (est.grad["prior"]["loc"] - exact) / est.grad_stderr["prior"]["loc"]
    assert np.all(np.abs(z) < 5)
    assert mg.verify(network, q(), 4000, params={"net": NET, "tau": 1.5}, backends=["numpy"], components=4).ok


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"net": {"a.b": 1.0}, "tau": 1.0}, r"net\.name"),
        ({"net": {3: 1.0}, "tau": 1.0}, r"net\.name"),
        ({"net": {"w": "x"}, "tau": 1.0}, r"net\.w"),
        ({"net": {"w": [np.ones(2), np.ones(3)]}, "tau": 1.0}, r"net\.w"),
    ],
)
def test_bad_trees_are_refused(params, name):
    with pytest.raises(mg.ParameterError, match=rf"^{name}: given"):
        mg.Estimator(network, q(), params=params)


def test_files(tmp_path):
    est = nested()(N)
    again = mg.Estimate.from_json(est.to_json())
    np.testing.assert_array_equal(again.grad["net"]["first"]["w"], est.grad["net"]["first"]["w"])
    _, npz = save(est, tmp_path / "net")
    with np.load(npz) as entries:
        np.testing.assert_array_equal(entries["grad.net.first.w"], est.grad["net"]["first"]["w"])


def test_job_files(tmp_path, capsys):
    (tmp_path / "model.py").write_text("def f(z, *, net): return net['w'] * z + net['inner']['b'] * z**2\n")
    (tmp_path / "job.toml").write_text(
        'integrand = "model.py:f"\nn = 1000\nbackend = "numpy"\nwrt = ["net"]\nout = "%s"\n'
        '[distribution]\nfamily = "Normal"\nloc = 1.0\nscale = 1e-9\n'
        "[params.net]\nw = 2.0\ninner = {b = 3.0}\n" % (tmp_path / "out")
    )
    assert main(["run", str(tmp_path / "job.toml")]) == 0
    est = mg.Estimate.from_json((tmp_path / "out.json").read_text())
    assert est.value == pytest.approx(5.0)
    assert est.grad["net"] == {"w": pytest.approx(1.0), "inner": {"b": pytest.approx(1.0)}}
    (tmp_path / "job.toml").write_text((tmp_path / "job.toml").read_text().replace("b = 3.0", 'b = "x"'))
    assert main(["run", str(tmp_path / "job.toml")]) == 2
    assert "params.net.inner.b: given 'x'" in capsys.readouterr().err
