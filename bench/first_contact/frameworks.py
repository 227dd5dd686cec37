"""PyTorch and JAX on a card: results beside the reference's, calls that wait for nothing, captured graphs, latency.

python bench/first_contact/frameworks.py

Each check says what it found, or how it failed; the exit status is that of the worst. A capture fails where anything
waits for the device, in PyTorch or beneath it; `set_sync_debug_mode` sees what PyTorch itself waits for.
"""

import sys
import time
import traceback

import numpy as np

import mcgrad as mg

N, D, B = 4096, 10, 256
LOC, SCALE = np.linspace(-0.5, 0.5, D).astype(np.float32), np.linspace(0.3, 0.8, D).astype(np.float32)
SHIFTS = np.linspace(-1.0, 1.0, B * D).reshape(B, D).astype(np.float32)
WEIGHTS = np.linspace(0.5, 1.5, D).astype(np.float32)
STEPS, TOLERANCE = 300, 2e-3


def f(z, w):
    return np.sum(np.square(z) * w) + np.sum(np.sin(z))


def by_row(z, w, x):
    return np.sum(np.square(z - x) * w)


def single(seed, n=N):
    est = mg.estimate(f, mg.Normal(LOC, SCALE), n, params={"w": WEIGHTS}, seed=seed, backend="numpy", dtype="float32")
    return est.value, [est.grad[name] for name in ("loc", "scale", "w")]


def batch(seed, n=32):
    q = mg.Normal(SHIFTS * 0.5, SCALE[0], batch_ndim=1)
    options = {"params": {"w": WEIGHTS}, "data": {"x": SHIFTS}, "batched_data": "x", "reduce": "sum"}
    est = mg.estimate(by_row, q, n, seed=seed, backend="numpy", dtype="float32", **options)
    return est.value, [est.grad[name] for name in ("loc", "scale", "w")]


def compare(found, wanted, name):
    for mine, theirs in zip([found[0], *found[1]], [wanted[0], *wanted[1]], strict=True):
        away = np.max(np.abs(np.asarray(mine) - theirs)) / max(np.max(np.abs(theirs)), 1.0)
        if not away < TOLERANCE:
            raise SystemExit(f"{name}: {away:.2g} from the reference")
    print(f"{name}: as the reference")


class OnTorch:
    """Steps of PyTorch: each the value and the gradients in loc, scale and w."""

    def __init__(self):
        import torch

        self.torch = torch
        self.seed = torch.zeros((), dtype=torch.int64, device="cuda")
        self.w = self.leaf(WEIGHTS)
        self.kinds = {
            "single": (self.leaf(LOC), self.leaf(SCALE), single),
            "batch": (self.leaf(SHIFTS * 0.5), self.leaf(SCALE[0]), batch),
        }
        self.x = torch.tensor(SHIFTS, device="cuda")

    def leaf(self, x):
        return self.torch.tensor(x, device="cuda", requires_grad=True)

    def step(self, kind, seed):
        loc, scale, _ = self.kinds[kind]
        given = {"loc": loc, "scale": scale, "params": {"w": self.w}, "seed": seed, "backend": "cuda"}
        if kind == "single":
            value = mg.torch.expectation(f, mg.Normal, N, **given)
        else:
            rows = {"data": {"x": self.x}, "batched_data": "x", "reduce": "sum", "batch_ndim": 1}
            value = mg.torch.expectation(by_row, mg.Normal, 32, **given, **rows)
        return value, self.torch.autograd.grad(value, [loc, scale, self.w])

    def plain(self, kind):
        """The same in PyTorch alone."""
        torch, (loc, scale, _) = self.torch, self.kinds[kind]
        z = loc + scale * torch.randn(N if kind == "single" else 32, *loc.shape, device="cuda")
        if kind == "single":
            value = ((z.square() * self.w).sum(-1) + z.sin().sum(-1)).mean()
        else:
            value = ((z - self.x).square() * self.w).sum(-1).mean(0).sum()
        return value, torch.autograd.grad(value, [loc, scale, self.w])

    def host(self, outputs):
        return outputs[0].item(), [x.cpu().numpy() for x in outputs[1]]

    def captured(self, step):
        torch = self.torch
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = step()
        return graph, outputs

    def results(self, kind):
        compare(self.host(self.step(kind, 7)), self.kinds[kind][2](7), f"PyTorch, {kind}")

    def nothing_waits(self, kind):
        self.torch.cuda.synchronize()
        self.torch.cuda.set_sync_debug_mode("error")
        try:
            outputs = self.step(kind, 8)
        finally:
            self.torch.cuda.set_sync_debug_mode("default")
        compare(self.host(outputs), self.kinds[kind][2](8), f"PyTorch, {kind}, no wait of PyTorch's")

    def graph(self, kind):
        self.seed.fill_(100)
        self.step(kind, self.seed)

        def step():
            self.seed.add_(1)
            return self.step(kind, self.seed)

        graph, outputs = self.captured(step)
        for _ in range(3):
            graph.replay()
            wanted = self.kinds[kind][2](int(self.seed.item()))
            compare(self.host(outputs), wanted, f"PyTorch, {kind}, captured, seed {int(self.seed.item())}")

    def latency(self, kind):
        torch = self.torch
        self.step(kind, self.seed)
        self.plain(kind)
        steps = {"mcgrad": lambda: self.step(kind, self.seed), "PyTorch": lambda: self.plain(kind)}
        steps |= {f"{name}, captured": self.captured(step)[0].replay for name, step in steps.items()}
        best = dict.fromkeys(steps, np.inf)
        for _ in range(5):  # in turns, as clocks change
            for name, step in steps.items():
                torch.cuda.synchronize()
                start = time.perf_counter()
                for _ in range(STEPS):
                    step()
                torch.cuda.synchronize()
                best[name] = min(best[name], (time.perf_counter() - start) / STEPS)
        print(f"a step, {kind}: " + "; ".join(f"{name} {1e6 * seconds:.0f} us" for name, seconds in best.items()))


def on_jax():
    import jax

    device = next(d for d in jax.devices() if d.platform == "gpu")
    own = [jax.device_put(x, device) for x in (LOC, SCALE, WEIGHTS)]

    def value(loc, scale, w, key):
        return mg.jax.expectation(f, mg.Normal, N, key, loc=loc, scale=scale, params={"w": w})

    step = jax.jit(jax.value_and_grad(value, argnums=(0, 1, 2)))
    found = step(*own, jax.random.key(9))
    compare((float(found[0]), [np.asarray(x) for x in found[1]]), single(9), "JAX, single")
    keys = jax.block_until_ready(jax.random.split(jax.random.key(0), STEPS))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready([step(*own, key) for key in keys])
        times.append((time.perf_counter() - start) / STEPS)
    print(f"a step, single: JAX with mcgrad {1e6 * min(times):.0f} us")


def attempt(check, *args):
    """Run a check; return whether it failed."""
    try:
        check(*args)
    except (ImportError, StopIteration) as error:
        print(f"{check.__name__}: not here ({error})")
    except (Exception, SystemExit) as error:
        print(f"{check.__name__}{args}: {type(error).__name__}: {error}")
        if not isinstance(error, SystemExit):
            traceback.print_exc(limit=-3, file=sys.stdout)
        return True
    return False


def main():
    failed = False
    try:
        import torch

        there = torch.cuda.is_available()
    except ImportError:
        there = False
    if there:
        ours = OnTorch()
        for kind in ours.kinds:
            for check in (ours.results, ours.nothing_waits, ours.graph, ours.latency):
                failed |= attempt(check, kind)
    else:
        print("PyTorch is not installed, or finds no device")
    failed |= attempt(on_jax)
    sys.exit(failed)


if __name__ == "__main__":
    main()
