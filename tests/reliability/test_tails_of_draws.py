"""What docs/draws.md says of the ends of draws: how far they reach, and what lies beyond thresholds there.

Beyond x lie whole numbers of the words that a normal is made of. They are counted with the kernels' own arithmetic: for
each radius that reaches so far, the largest angle that does, by bisection.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit, uint32, uint64
from scipy import special

import mcgrad as mg
from mcgrad.kernels import noise32, noise64

sys.path.append(str(Path(__file__).parents[2] / "bench"))

import normals

PAGE = (Path(__file__).parents[2] / "docs" / "draws.md").read_text()
pair32, pair64 = noise32.normal_pair, noise64.normal_pair


@njit
def cosine32(j, angle):
    """Normal of the j-th radius from the far end and an angle of so many 2^-32 turns."""
    return pair32(uint32(j << uint64(1)), uint32(angle))[0]


@njit
def cosine64(j, angle):
    """Normal of the j-th radius from the far end and an angle of so many 2^-54 turns."""
    low, high = uint32(j << uint64(11)), uint32(j >> uint64(21))
    return pair64(low, high, uint32(angle << uint64(10)), uint32(angle >> uint64(22)))[0]


@njit
def angles_beyond(cosine, x, quarter, j):
    """How many angles take the j-th radius beyond x: as many on either side of 0, and 0 itself."""
    if cosine(uint64(j), uint64(0)) <= x:
        return 0.0
    inside, outside = uint64(0), uint64(quarter)
    while outside - inside > uint64(1):
        middle = (inside + outside) >> uint64(1)
        if cosine(uint64(j), middle) > x:
            inside = middle
        else:
            outside = middle
    return 2.0 * inside + 1.0


def probability_beyond(dtype, x):
    """P(z > x) of the draws of a dtype, from 2^31 radii and 2^32 angles, or 2^53 and 2^54, all as probable."""
    cosine, radii, angles = (cosine32, 31, 32) if dtype == "float32" else (cosine64, 53, 54)
    total, j = 0.0, 0
    while found := angles_beyond(cosine, np.dtype(dtype).type(x), 1 << (angles - 2), j):
        total, j = total + found, j + 1
    return total * 2.0 ** -(radii + angles)


def rows(*columns):
    """Rows of a table of the page, by what its first column must look like."""
    return re.findall(r"^\| " + r" \| ".join(columns) + r" \|$", PAGE, re.MULTILINE)


NORMALS = rows(r"([\d.]+)", r"(\d\.\d\de-\d\d)", "(.*?)", "(.*?)")


@pytest.mark.parametrize(("x", "right", "float32", "float64"), NORMALS)
def test_normals_beyond_a_threshold_are_as_the_page_says(x, right, float32, float64):
    exact = special.ndtr(-float(x))
    assert float(right) == pytest.approx(exact, rel=5e-3)
    for dtype, said in (("float32", float32), ("float64", float64)):
        if said != "right":  # too many radii to count
            found = probability_beyond(dtype, float(x))
            if said == "never":
                assert found == 0
            else:
                assert f"{100 * (found / exact - 1):+.2g}%".replace("+1%", "+1.0%") == said
                assert found == pytest.approx(normals.law(dtype, float(x)), rel=1e-6)


def test_the_page_has_both_ends_of_normals():
    assert len(NORMALS) == 11
    assert cosine32(0, 0) == pytest.approx(np.sqrt(62 * np.log(2)), rel=1e-6)
    assert cosine64(0, 0) == pytest.approx(np.sqrt(108 * np.log(2)), rel=1e-14)
    assert normals.law("float64", 7.0) == pytest.approx(special.ndtr(-7.0), rel=1e-5)  # what is left out is small


def test_how_much_of_a_fast_growing_mean_is_missing():
    """exp(0.45 z^2) times the density is that of Normal(0, sqrt(10)), but for a constant."""
    missing = 2 * special.ndtr(-6.5556 / np.sqrt(10))
    assert f"exp(0.45 z^2), {missing:.1%} come from |z| > 6.556" in PAGE


def test_a_plain_mean_shows_it_from_as_many_draws_as_the_page_says():
    p, bias = special.ndtr(-6.0), probability_beyond("float32", 6.0) / special.ndtr(-6.0) - 1
    assert "up to\nn = 7e11" in PAGE
    assert 1 / (bias**2 * p) == pytest.approx(7e11, rel=0.05)  # where bias * p is sqrt(p / n)


def end(dtype, kind, side):
    """Give the least (0) or greatest (1) number of a noise, from the kernels."""
    if kind == "uniform":
        ends = (2.0**-25, 1 - 2.0**-24) if dtype == "float32" else (2.0**-54, 1 - 2.0**-53)
        return np.array(ends[side], dtype)
    r = cosine32(0, 0) if dtype == "float32" else cosine64(0, 0)
    return np.array(r if side else -r, dtype)


FAMILIES = {  # family by the page's name: a q, and where its least and its greatest draw come from
    "Uniform": (mg.Uniform(0.0, 1.0), "uniform", (0, 1)),
    "Normal": (mg.Normal(0.0, 1.0), "normal", (0, 1)),
    "LogNormal": (mg.LogNormal(0.0, 1.0), "normal", (0, 1)),
    "Exponential": (mg.Exponential(1.0), "uniform", (1, 0)),
    "Weibull, concentration 1/2": (mg.Weibull(1.0, 0.5), "uniform", (1, 0)),
    "Laplace": (mg.Laplace(0.0, 1.0), "uniform", (0, 1)),
    "Logistic": (mg.Logistic(0.0, 1.0), "uniform", (0, 1)),
    "Gumbel": (mg.Gumbel(0.0, 1.0), "uniform", (0, 1)),
    "Gamma, concentration 1": (mg.Gamma(1.0, 1.0), "normal", (0, 1)),
    "Gamma, concentration 10": (mg.Gamma(10.0, 1.0), "normal", (0, 1)),
    "Pareto": (mg.Pareto(1.0, 1.0), "normal", (0, 1)),
    "Cauchy": (mg.Cauchy(0.0, 1.0), "normal", (0, 1)),
    "StudentT, df 3": (mg.StudentT(3.0, 0.0, 1.0), "normal", (0, 1)),
}
ENDS = {name: said for name, *said in rows("([A-Z].*?)", "(?:two )?(?:normal|uniform)s?", "(.*?)", "(.*?)")}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ends_of_families_are_as_the_page_says(family, dtype):
    q, kind, sides = FAMILIES[family]
    said = ENDS[family][dtype == "float64"].split(" to ")
    assert {source.kind for source in mg.noise.sources(q.noise).values()} == {kind}
    params = {name: np.array(value, dtype) for name, value in q.flat_params.items()}
    for text, side in zip(said, sides, strict=True):
        eps = end(dtype, kind, side)
        if family.startswith("StudentT"):
            eps = {"normal": eps, "chi2": end(dtype, kind, 0)}
        found = float(q.transform(eps, **params))
        if text.startswith("1 - "):
            assert 1 - found == pytest.approx(float(text[4:]), rel=5e-3)
        else:
            assert found == pytest.approx(float(text), rel=2e-3 if "e" not in text else 5e-3)


def test_the_page_has_the_families_that_are_tested():
    assert list(ENDS) == list(FAMILIES)


def test_coarse_ends_of_exponentials_are_as_the_page_says():
    u = np.array([2.0**-25, 2.0**-24, 2.0**-23], np.float32)
    np.testing.assert_allclose(mg.Exponential.transform(u, rate=np.float32(1)), [17.33, 16.64, 15.94], atol=5e-3)
    assert 2.0**-24 / np.exp(-17.0) - 1 == pytest.approx(0.44, abs=5e-3)
    count = np.floor(2.0**53 * np.exp(-29.0)) + 1  # k below it give more than 29 in float64, 0 among them
    assert count * 2.0**-53 / np.exp(-29.0) - 1 == pytest.approx(0, abs=1e-3)
