"""Times every variant of one peer and keeps the fastest in peers/tuned.json. Run it on a quiet machine."""

import argparse
import json
import time
from dataclasses import replace

import peers
from check import largest_z, reference
from peers import tuned
from problems import problems


def best_rates(runs, draws, seconds):
    """Best draws/s of each over rounds that call every one once: what else the machine does hits all alike."""
    best, end = [0.0] * len(runs), time.perf_counter() + seconds * len(runs)
    seed = 2
    while seed < 4 or time.perf_counter() < end:
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run(seed)
            best[i] = max(best[i], draws / (time.perf_counter() - start))
        seed += 1
    return best


def build(module, problem, dtype, threads, expected):
    """The variants that work and agree with the reference, each with its callable."""
    for variant in module.variants(problem, dtype):
        try:
            run = module.make(problem, dtype, threads, variant)
            z = largest_z(problem, dtype, run(1), expected)
        except peers.UnavailableError:
            raise
        except Exception as error:
            print(f"{problem.name:13}{dtype:9}{variant} refused: {str(error).splitlines()[0][:100]}", flush=True)
            continue
        if z > 6:
            print(f"{problem.name:13}{dtype:9}{variant} wrong: z = {z:.1f}", flush=True)
            continue
        yield variant, run


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=[p for p in peers.MODULES if p not in ("mcgrad", "numpy")])
    parser.add_argument("--problems", nargs="*", default=list(problems()))
    parser.add_argument("--dtype", nargs="*", default=["float32", "float64"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()
    module = peers.load(args.peer)
    if hasattr(module, "threads_before_start"):
        module.threads_before_start(args.threads)
    for problem in (problems()[name] for name in args.problems):
        expected = reference(problem)
        for dtype in args.dtype:
            draws = problem.draws[dtype] // 2
            job = replace(problem, draws={dtype: draws})
            try:
                pairs = list(build(module, job, dtype, args.threads, expected))
            except peers.UnavailableError:
                continue
            rates = best_rates([run for _, run in pairs], draws, args.seconds)
            for (variant, _), speed in zip(pairs, rates, strict=True):
                print(f"{problem.name:13}{dtype:9}{variant} {speed:.3g} draws/s", flush=True)
            if pairs:
                fastest = max(range(len(pairs)), key=lambda i: rates[i])
                keep(tuned.key(args.peer, problem.name, dtype, args.threads), pairs[fastest][0], rates[fastest])


def keep(key, variant, speed):
    known = json.loads(tuned.FILE.read_text()) if tuned.FILE.exists() else {}
    known[key] = {"variant": variant, "draws_per_second": float(f"{speed:.3g}")}
    tuned.FILE.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
