"""A variational autoencoder of handwritten digits: data, encoder, decoder, and the integrand that mcgrad averages.

    z_i ~ Normal(0, 1)                                 20 numbers for each image
    x_ij | z_i ~ Binomial(16, expit(decoder(z_i)_j))    64 pixels, from 0 to 16
    q(z_i | x_i) = Normal(mu(x_i), sigma(x_i))          mu and sigma of an encoder

ELBO_i = E_q[log p(x_i | z_i)] - KL(q(z_i | x_i) || p(z_i)). The second term has a closed form. The first is the
expectation: each image has a distribution of its own, and all share the weights of the decoder.
"""

import csv
import gzip
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

FOLDER = Path(__file__).parent
PIXELS, LEVELS, HIDDEN, LATENT = 64, 16, 64, 20


@cache
def read():
    """Images, shape (1797, 64), pixels from 0 to 16; and the digit that each shows."""
    with gzip.open(FOLDER / "optdigits.csv.gz", "rt", newline="") as file:
        rows = np.array([[float(x) for x in row] for row in csv.reader(file)])
    return rows[:, :PIXELS].astype(np.float32), rows[:, PIXELS].astype(int)


@cache
def log_binomial():
    """The logarithms of the binomial coefficients of 16 over 0 .. 16."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, LEVELS + 1)))])
    return (logs[-1] - logs - logs[::-1]).astype(np.float32)


class Encoder(nn.Module):
    """Images to mu and sigma."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(PIXELS, HIDDEN)
        self.mu, self.log_sigma = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)

    def forward(self, x):
        h = torch.tanh(self.hidden(x / LEVELS - 0.5))
        return self.mu(h), torch.exp(self.log_sigma(h))


class Decoder(nn.Module):
    """The weights from a code to the log odds of the pixels."""

    def __init__(self):
        super().__init__()
        self.hidden, self.pixels = nn.Linear(LATENT, HIDDEN), nn.Linear(HIDDEN, PIXELS)

    def forward(self, z):
        return self.pixels(torch.tanh(self.hidden(z)))

    def params(self):
        """The weights by the names that `log_likelihood` has for them."""
        return {
            "w1": self.hidden.weight,
            "b1": self.hidden.bias,
            "w2": self.pixels.weight,
            "b2": self.pixels.bias,
        }


def log_likelihood(z, *, w1, b1, w2, b2, x):
    """log p(x | z) of one image without the binomial coefficients: the integrand, in NumPy."""
    odds = w2 @ np.tanh(w1 @ z + b1) + b2
    return np.sum(x * odds - LEVELS * np.logaddexp(0.0, odds))


def constant(x):
    """The sum over the pixels of the logarithms of the binomial coefficients, by image."""
    return torch.from_numpy(log_binomial())[x.long()].sum(dim=1)


def divergence(mu, sigma):
    """KL(Normal(mu, sigma) || Normal(0, 1)) by image."""
    return 0.5 * (mu.square() + sigma.square() - 1).sum(dim=1) - torch.log(sigma).sum(dim=1)


def plain_reconstruction(decoder, mu, sigma, x, n, generator=None):
    """The mean of log p(x | z) over n draws by image, in plain PyTorch."""
    eps = torch.randn(n, *mu.shape, generator=generator)
    odds = decoder(mu + sigma * eps)
    return (x * odds - LEVELS * nn.functional.softplus(odds)).sum(dim=2).mean(dim=0)
