"""Train a variational autoencoder of handwritten digits, its expectation and gradient by mcgrad; compare with PyTorch.

The encoder and the decoder are modules of PyTorch. The expected log likelihood of each image, and its gradient in mu,
sigma and the weights of the decoder, is one call of `mcgrad.torch.expectation` a step: a batch whose rows are images.
The same network is then trained with draws by torch.randn, from the same start, with the same batches of images.

    python examples/vae_digits/train.py [--epochs 60] [--draws 2] [--seeds 1] [--figures FOLDER]
"""

import argparse
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch
from model import LATENT, PIXELS, Decoder, Encoder, constant, divergence, log_likelihood, plain_reconstruction, read

import mcgrad as mg

BATCH, RATE = 64, 2e-3


def reconstruction(decoder, mu, sigma, x, n, generator=None):
    """The sum over the images of the mean of log p(x | z) over n draws by image, by mcgrad."""
    return mg.torch.expectation(
        log_likelihood, mg.Normal, n, loc=mu, scale=sigma, batch_ndim=1, params=decoder.params(),
        data={"x": x}, batched_data="x", reduce="sum", generator=generator,
    )  # fmt: skip


def plain(decoder, mu, sigma, x, n, generator=None):
    """The same in PyTorch."""
    return plain_reconstruction(decoder, mu, sigma, x, n, generator).sum()


def networks(seed):
    """An encoder and a decoder with random weights."""
    torch.manual_seed(seed)
    return Encoder(), Decoder()


@cache
def evaluator(rows):
    """An Estimator of the mean over the images of the expected log likelihood, without a gradient."""
    q = mg.Normal(np.zeros((rows, LATENT), np.float32), np.ones((rows, LATENT), np.float32), batch_ndim=1)
    params = {name: weight.detach().numpy() for name, weight in Decoder().params().items()}
    data = {"x": np.zeros((rows, PIXELS), np.float32)}
    return mg.Estimator(log_likelihood, q, params=params, data=data, batched_data="x", reduce="mean", wrt=())


def elbo(encoder, decoder, x, n, seed=0):
    """The mean ELBO of some images, and its standard error: that of the mean over draws, for these images."""
    with torch.no_grad():
        mu, sigma = encoder(x)
        rest = (constant(x) - divergence(mu, sigma)).mean()
        weights = {name: weight.detach().numpy() for name, weight in decoder.params().items()}
        found = evaluator(len(x))(n, seed, loc=mu.numpy(), scale=sigma.numpy(), x=x.numpy(), **weights)
    return float(found.value + float(rest)), float(found.stderr)


def train(expected, images, epochs, draws, seed=0, report=None):
    """Train with one way to estimate the expectation; return the networks and the seconds of each epoch."""
    encoder, decoder = networks(seed)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
    seconds = []
    for epoch in range(epochs):
        start = time.perf_counter()
        for x in torch.split(images[torch.randperm(len(images), generator=generator)], BATCH):
            mu, sigma = encoder(x)
            loss = (divergence(mu, sigma).sum() - expected(decoder, mu, sigma, x, draws, generator)) / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
        if report:
            report(epoch, encoder, decoder)
    return encoder, decoder, seconds


def gradient_deviation(expected, encoder, decoder, x, draws, repeats=50):
    """The root of the mean variance of one component of the gradient, over repeated steps at the same weights."""
    parameters = [*encoder.parameters(), *decoder.parameters()]
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(repeats):
        mu, sigma = encoder(x)
        value = expected(decoder, mu, sigma, x, draws, generator) / len(x)
        found.append(torch.cat([g.ravel() for g in torch.autograd.grad(value, parameters)]))
    return float(torch.stack(found).var(dim=0).mean().sqrt())


def bar(done, total, text):
    """Print a progress bar over the last one."""
    filled = 30 * done // total
    end = "\n" if done == total else ""
    print(f"\r[{'#' * filled}{'.' * (30 - filled)}] {text}", end=end, file=sys.stderr, flush=True)


def figures(encoder, decoder, images, digits, folder):
    """Draw images above their reconstructions, samples, and the plane of the two main directions of mu."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        mu, _ = encoder(images)
        again = torch.sigmoid(decoder(mu[:10])).numpy()
        samples = torch.sigmoid(decoder(torch.randn(30, LATENT, generator=torch.Generator().manual_seed(0)))).numpy()
    for name, rows in {"reconstructions": [images[:10].numpy(), again], "samples": np.split(samples, 3)}.items():
        fig, axes = plt.subplots(len(rows), 10, figsize=(10, len(rows)))
        for ax, pixels in zip(axes.flat, np.concatenate(rows), strict=True):
            ax.imshow(pixels.reshape(8, 8), cmap="gray_r")
            ax.axis("off")
        fig.savefig(folder / f"{name}.png", dpi=100)
        plt.close(fig)
    centered = (mu - mu.mean(dim=0)).numpy()
    plane = centered @ np.linalg.svd(centered, full_matrices=False)[2][:2].T
    fig, ax = plt.subplots(figsize=(7, 6))
    points = ax.scatter(*plane.T, c=digits, cmap="tab10", s=6)
    fig.colorbar(points, label="digit")
    ax.set(xlabel="first principal component of mu", ylabel="second")
    fig.savefig(folder / "latent_plane.png", dpi=100)
    plt.close(fig)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--draws", type=int, default=2, help="draws an image and step")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each way, from other weights and draws")
    parser.add_argument("--figures", type=Path, help="folder to write three PNG files to")
    options = parser.parse_args(argv)
    pixels, digits = read()
    images = torch.from_numpy(pixels)

    def report(epoch, encoder, decoder):
        center, error = elbo(encoder, decoder, images, 16, seed=epoch)
        bar(epoch + 1, options.epochs, f"epoch {epoch + 1}, ELBO an image {center:.2f} +- {error:.2f} ")

    ways, found = {"mcgrad": reconstruction, "PyTorch": plain}, {}
    for name, expected in ways.items():
        runs = []
        for seed in range(options.seeds):
            print(f"{name}, seed {seed}:", file=sys.stderr)
            encoder, decoder, seconds = train(expected, images, options.epochs, options.draws, seed, report)
            center, _ = elbo(encoder, decoder, images, 200)
            deviation = gradient_deviation(expected, encoder, decoder, images[:BATCH], options.draws)
            runs.append((center, deviation, float(np.median(seconds))))
            if name == "mcgrad" and seed == 0 and options.figures:
                figures(encoder, decoder, images, digits, options.figures)
        found[name] = np.array(runs)
    print(f"{options.seeds} runs of {options.epochs} epochs, {options.draws} draws an image and step")
    print(f"{'':8} {'ELBO an image':>20} {'deviation of a gradient':>25} {'seconds an epoch':>18}")
    for name, runs in found.items():
        center, deviation, second = runs.mean(axis=0)
        spread = f" +- {runs[:, 0].std(ddof=1) / len(runs) ** 0.5:.2f}" if len(runs) > 1 else ""
        print(f"{name:8} {center:11.2f}{spread:9} {deviation:25.2e} {second:18.3f}")
    return found


if __name__ == "__main__":
    main()
