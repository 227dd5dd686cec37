"""Emitted sources of many Programs, to see that a change of the code generator leaves them as they are.

python bench/emitted_sources.py FOLDER             # write them, one file a Program, device, dtype and variant
python bench/emitted_sources.py --against FOLDER   # compare with those that an earlier version has written
"""

import argparse
import difflib
import hashlib
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import problems as workloads  # noqa: E402
from tests import families, test_integrand  # noqa: E402
from tests.cuda import test_blocks  # noqa: E402
from tests.emit import test_tiles  # noqa: E402

import mcgrad as mg  # noqa: E402
from mcgrad.codegen.cpu import chunk  # noqa: E402
from mcgrad.codegen.cuda import choose  # noqa: E402

RNG = np.random.default_rng(5)
DTYPES = ("float32", "float64")
LONG = RNG.standard_normal((600, 4))
VECTOR = mg.Normal(np.linspace(-0.5, 0.5, 4), 0.6)
MIXTURE = mg.MixtureSameFamily(mg.Normal([[-1.0, 0.0], [0.5, 1.0], [2.0, 3.0]], 0.5), logits=[0.1, -0.2, 0.3])
CHOICE = mg.Joint(a=mg.Normal(0.3, 1.2), b=mg.Bernoulli(probs=[0.3, 0.6]))


def square(z):
    return np.sum(np.sin(z) ** 2)


def tall(z):
    logits = LONG @ z
    return np.sum(np.tanh(logits) - np.logaddexp(0, logits)) + np.max(np.cumsum(LONG @ z))


def switched(z):
    return np.sum(z["b"] * np.sin(z["a"])) + z["a"] * z["b"][0]


def cases():
    """The Programs: name -> what an Estimator takes."""
    for problem in workloads.problems().values():
        q = mg.MultivariateNormal(**problem.q) if "scale_tril" in problem.q else mg.Normal(**problem.q)
        yield problem.name, (problem.f, q), {"params": problem.params, "data": problem.data, "wrt": problem.wrt}
    for name, (f, q) in test_blocks.PATHS.items():
        yield f"paths {name}", (f, q), {}
    for name, f in test_tiles.INTEGRANDS.items():
        yield f"tiles {name}", (f, VECTOR), {}
    yield "tall", (tall, VECTOR), {}
    pair = mg.Integrand(value=test_integrand.value, value_and_grad=test_integrand.value_and_grad)
    yield "pair of Numba functions", (pair, test_integrand.Q), test_integrand.GIVEN
    yield "many terms of a chain", (workloads.rosenbrock, mg.Normal(np.linspace(-1, 1, 700), 0.5)), {}
    for method in ("pathwise", "score", "measure_valued", "difference"):
        yield f"method {method}", (square, VECTOR), {"method": method}
    for baseline in ("mean", "leave_one_out", "optimal"):
        yield f"baseline {baseline}", (square, VECTOR), {"method": "score", "baseline": baseline}
    yield "mixture", (square, MIXTURE), {}
    yield "mixed methods", (switched, CHOICE), {"method": {"a": "pathwise", "b": "score+mean"}}
    for method in ("pathwise", "stl", "dreg"):
        bound = mg.iwae(tall, VECTOR, k=4) if method == "dreg" else mg.elbo(tall, VECTOR)
        yield f"bound {method}", (bound,), {"method": method}
    for family in families.FAMILIES.values():
        yield f"family {family.name}", (family.f, family.q), {"method": "pathwise" if family.pathwise else "score"}


def described(emitted):
    """What goes with a source: its sizes, and hashes of its arrays."""
    lines = []
    for name, found in sorted(vars(emitted).items()):
        if isinstance(found, np.ndarray):
            lines.append(f"# {name}: {found.shape} {hashlib.sha256(found.tobytes()).hexdigest()[:16]}")
        elif isinstance(found, list):
            places = [item[1] for item in found if isinstance(item, tuple)]
            lines.append(f"# {name}: {len(found)} {places}")
        elif isinstance(found, int | bool):
            lines.append(f"# {name}: {found}")
    return "\n".join(lines)


def sources():
    """Yield the name of a file and its text."""
    for name, given, options in cases():
        for dtype in DTYPES:
            program = mg.Estimator(*given, backend="numpy", dtype=dtype, **options).program
            if not program.body():
                continue
            for device, emit in (("cpu", chunk.emit), ("cuda", choose.emit)):
                for variant in (False, True):
                    emitted = emit(program, variant)
                    file = f"{name} {dtype} {device}{' checked' * variant}".replace(" ", "_").replace("/", "-") + ".py"
                    yield file, f"{emitted.source}\n{described(emitted)}\n"


def main():
    """Write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against", action="store_true", help="compare with the folder instead of writing it")
    given = parser.parse_args()
    count, changed = 0, []
    if not given.against:
        given.folder.mkdir(parents=True, exist_ok=True)
    for file, text in sources():
        count += 1
        path = given.folder / file
        if not given.against:
            path.write_text(text)
        elif (before := path.read_text() if path.exists() else "") != text:
            changed.append(file)
            if len(changed) <= 3:
                sys.stdout.writelines(difflib.unified_diff(before.splitlines(True), text.splitlines(True), file, file))
    print(f"{count} sources" + (f", {len(changed)} not as they were: {', '.join(changed[:8])} ..." if changed else ""))
    return bool(changed)


if __name__ == "__main__":
    sys.exit(main())
