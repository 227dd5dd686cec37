#!/usr/bin/env bash
# first_contact.sh from end to end where there is no card, on the tests' stand-in for CuPy: do all steps run, and say what
# they should?  bench/rehearse.sh DIR
#
# On a machine that does other work, BENCH_PATIENCE=3 makes all limits of time three times as long. Of the tests those run
# that go through the backend: the stand-in has no machine code, so kernels of the tests' own cannot run on it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH=$here/rehearsal/bin:$PATH PYTHONPATH=$here/rehearsal${PYTHONPATH:+:$PYTHONPATH} BENCH_CHUNK=4096 BENCH_CHECK=16384
export BENCH_MOST=1024 # draws of a warm call: the stand-in makes 2,000 a second of the largest problem
export BENCH_SHRINK=1000 # rows of batches
export BENCH_TESTS="agrees or verify or finite or integrand"
exec "$here/first_contact.sh" "$@"
