"""A European call in the model of Black and Scholes, and its closed form."""

from math import erf, exp, log, pi, sqrt

import numpy as np

MATURITY = 1.0  # years


def call(z, *, spot, vol, rate, strike):
    """Discounted payoff; its expectation over z ~ Normal(0, 1) is the price."""
    end = spot * np.exp((rate - vol**2 / 2) * MATURITY + vol * np.sqrt(MATURITY) * z)
    return np.exp(-rate * MATURITY) * np.maximum(end - strike, 0)


def black_scholes(spot, vol, rate, strike):
    """Price, and its derivatives in spot, vol and rate."""
    width, discount = vol * sqrt(MATURITY), exp(-rate * MATURITY)
    d1 = (log(spot / strike) + rate * MATURITY) / width + width / 2
    below, above = ((1 + erf(d / sqrt(2))) / 2 for d in (d1 - width, d1))
    return {
        "price": spot * above - strike * discount * below,
        "spot": above,
        "vol": spot * exp(-(d1**2) / 2) / sqrt(2 * pi) * sqrt(MATURITY),
        "rate": strike * MATURITY * discount * below,
    }
