"""Bayesian logistic regression on the Wisconsin diagnostic data: its data, its variational family, its ELBO.

    w ~ Normal(0, 1 / tau)                  31 weights, of an intercept and of 30 standardised features
    y_i | w ~ Bernoulli(expit(x_i . w))     1 where the tumour of patient i is malignant
    q(w) = Normal(loc, scale)               independent components, the variational parameters

ELBO = E_q[log p(y, w) - log q(w)]. The expectation is of a function of w and of log q(w), so the draw holds both:
the transform returns them as a dict, and the gradient takes every path by which loc and scale reach the ELBO.
"""

import csv
from pathlib import Path

import numpy as np

import mcgrad as mg

FOLDER = Path(__file__).parent
HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


def names():
    """Names of the 30 features."""
    with (FOLDER / "wdbc.csv").open(newline="") as file:
        return next(csv.reader(file))[1:]


def read():
    """Features as they were measured, shape (569, 30), and whether each tumour is malignant."""
    with (FOLDER / "wdbc.csv").open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return np.array([row[1:] for row in rows], float), np.array([row[0] == "M" for row in rows], float)


def design(features, like):
    """A column of ones, then the features, shifted and scaled as those of `like` need to have mean 0 and sd 1."""
    standardised = (features - like.mean(axis=0)) / like.std(axis=0)
    return np.column_stack([np.ones(len(features)), standardised])


def data():
    """What the integrand reads: the design matrix X and the labels y of all patients."""
    features, y = read()
    return {"X": design(features, like=features), "y": y}


def draw(eps, *, loc, scale):
    """Draw weights, and their log density."""
    return {"w": loc + scale * eps, "log_q": np.sum(-0.5 * eps**2 - np.log(scale) - HALF_LOG_2PI)}


def family(loc, scale):
    """The variational family at the given parameters."""
    return mg.Reparameterized(draw, params={"loc": loc, "scale": scale}, noise=mg.noise.normal(len(loc)))


def posterior():
    """The family at the parameters in variational.csv, which fit.py found."""
    loc, scale = np.loadtxt(FOLDER / "variational.csv", delimiter=",", skiprows=1, usecols=(1, 2), unpack=True)
    return family(loc, scale)


def elbo(z, *, tau, X, y):
    """log p(y, w) - log q(w) of one draw."""
    w, logits = z["w"], X @ z["w"]
    log_likelihood = np.sum(y * logits - np.logaddexp(0, logits))
    log_prior = np.sum(0.5 * np.log(tau) - 0.5 * tau * w**2 - HALF_LOG_2PI)
    return log_likelihood + log_prior - z["log_q"]
