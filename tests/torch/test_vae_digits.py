"""The example of a variational autoencoder: its expectation is PyTorch's, and a few steps raise the ELBO."""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

FOLDER = Path(__file__).parent.parent.parent / "examples" / "vae_digits"


@pytest.fixture
def example(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import train

    yield train
    for name in ("train", "model"):
        del sys.modules[name]


def test_data(example):
    images, digits = example.read()
    assert images.shape == (1797, 64)
    assert images.min() == 0
    assert images.max() == 16
    assert np.bincount(digits).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    exact = [
        sum(np.log(np.arange(1, 17))) - sum(np.log(np.arange(1, k + 1))) - sum(np.log(np.arange(1, 17 - k)))
        for k in (0, 3, 16)
    ]
    np.testing.assert_allclose(example.constant(torch.tensor([[0.0], [3.0], [16.0]])), exact, atol=1e-5)


def test_both_ways_estimate_the_same(example):
    encoder, decoder = example.networks(0)
    x = torch.from_numpy(example.read()[0][:8])
    weights = [*encoder.parameters(), *decoder.parameters()]
    means, variances = [], []
    for expected in (example.reconstruction, example.plain):
        generator = torch.Generator().manual_seed(3)
        found = []
        for _ in range(40):
            value = expected(decoder, *encoder(x), x, 4, generator)
            gradient = torch.autograd.grad(value, weights)
            found.append(torch.stack([value.detach(), *(g.flatten()[0] for g in gradient)]))
        found = torch.stack(found).double()
        means.append(found.mean(dim=0))
        variances.append(found.var(dim=0) / len(found))
    z = (means[0] - means[1]) / torch.sqrt(variances[0] + variances[1])
    assert z.abs().max() < 4.5


def test_training_raises_the_elbo(example, tmp_path):
    pixels, digits = example.read()
    images = torch.from_numpy(pixels[:256])
    before, _ = example.elbo(*example.networks(0), images, 32)
    encoder, decoder, seconds = example.train(example.reconstruction, images, 5, 2)
    after, error = example.elbo(encoder, decoder, images, 32)
    assert len(seconds) == 5
    assert 0 < error < 1
    assert after > before + 50
    if pytest.importorskip("matplotlib", reason="matplotlib is not installed"):
        example.figures(encoder, decoder, images, digits[:256], tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "latent_plane.png",
            "reconstructions.png",
            "samples.png",
        ]
