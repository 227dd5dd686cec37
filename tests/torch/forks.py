"""Expectations in forked children, run by test_forks.py: a process of its own, without JAX, which warns of any fork."""

import multiprocessing

import numpy as np
import torch

import mcgrad as mg

SECONDS = 240  # after which a child hangs


def total(z):
    return np.sum(z)


def value(loc, seed, n=5000):
    return mg.torch.expectation(total, mg.Normal, n, loc=loc, scale=1.0, seed=seed).item()


class Values(torch.utils.data.Dataset):
    """Row r is an expectation with the seed r."""

    def __len__(self):
        return 4

    def __getitem__(self, row):
        return value(torch.full((2,), float(row)), row, 1000)


def in_a_child():
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    loc = torch.zeros(2)
    expected = value(loc, 4)
    child = context.Process(target=lambda: there.send(value(loc, 4)), daemon=True)
    child.start()
    assert here.poll(SECONDS), "the child sends nothing"
    assert here.recv() == expected
    child.join(SECONDS)
    assert child.exitcode == 0


def in_workers_of_a_loader():
    expected = [value(torch.full((2,), float(row)), row, 1000) for row in range(4)]
    loader = torch.utils.data.DataLoader(
        Values(), batch_size=2, num_workers=1, multiprocessing_context="fork", timeout=SECONDS
    )
    assert torch.cat(list(loader)).tolist() == expected


if __name__ == "__main__":
    in_a_child()
    in_workers_of_a_loader()
    print("all equal")
