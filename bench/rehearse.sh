#!/usr/bin/env bash
# first_contact.sh from end to end where there is no card, on the tests' stand-in for CuPy: do all steps run, and say what
# they should?  bench/rehearse.sh DIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PATH=$here/rehearsal/bin:$PATH PYTHONPATH=$here/rehearsal${PYTHONPATH:+:$PYTHONPATH} BENCH_CHUNK=4096 BENCH_CHECK=1024
exec "$here/first_contact.sh" "$@"
