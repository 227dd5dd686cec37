#!/usr/bin/env bash
# All that is to be learnt from the first minutes on a card, in the order of its worth: at most 590 s, at most eight files.
#
#   bench/first_contact.sh DIR            # $PYTHON runs the steps; by default .venv's, or python3
#
# DIR then has report.md, which says how each step ended and closes with the tables, and the outputs of the steps. Each
# step has its own time limit; one that fails or whose tool is missing stops no other, but the first, without which
# nothing else can be right. Nothing is downloaded. Install before: pip install -e ".[cuda,test]" (or cuda13), and for
# peers torch and jax for the same CUDA.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ $# == 1 ]] || { echo "usage: bench/first_contact.sh DIR" >&2; exit 2; }
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=${PYTHON:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)}
patience=${BENCH_PATIENCE:-1} # by which limits are multiplied: for a rehearsal on a machine that does other work, too
end=$((SECONDS + 575 * patience)) # the report takes the rest
export MCGRAD_CACHE_DIR=$work/cache XLA_PYTHON_CLIENT_PREALLOCATE=false PYTHONUNBUFFERED=1
export PYTHONPATH=$PWD/bench${PYTHONPATH:+:$PYTHONPATH}

# step NAME SECONDS FILE COMMAND...: its output is added to FILE, how it ended to the list of steps
step() {
    local name=$1 limit=$(($2 * patience)) file=$3 start=$SECONDS status=0 left=$((end - SECONDS)) ended
    shift 3
    ((limit < left)) || limit=$left
    if ((limit < 5)); then
        echo "$name 0 $limit no time left" >>"$work/steps"
        return 1
    fi
    echo "== $name ($limit s)"
    timeout -k 1 "$limit" "$@" >>"$file" 2>&1 || status=$?
    case $status in
    0) ended=well ;;
    124 | 137) ended="at its limit of time" ;;
    *) ended="with status $status" ;;
    esac
    echo "$name $((SECONDS - start)) $limit $ended" >>"$work/steps"
    echo "   ended $ended, $((SECONDS - start)) s"
    return "$status"
}

# with TOOL NAME SECONDS FILE COMMAND...: the same, where there is such a tool
with() {
    local tool=$1
    shift
    if command -v "$tool" >/dev/null; then
        step "$@"
    else
        echo "$tool is not here" | tee -a "$3"
        echo "$1 0 $2 $tool is not here" >>"$work/steps"
    fi
}

report() { timeout -k 1 12 "$python" bench/first_contact/report.py "$out" "$work"; }

rm -f "$out"/{versions,draws,tests,sanitizer,ncu}.txt "$out"/{speed,peers}.json "$out"/report.md
if ! step versions 20 "$out/versions.txt" "$python" bench/first_contact/versions.py; then
    tail -5 "$out/versions.txt"
    report
    echo "scalar does not run: stopped"
    exit 1
fi
step draws 60 "$out/draws.txt" "$python" bench/first_contact/draws.py
step tests 90 "$out/tests.txt" "$python" -m pytest -m gpu -n 12 -q -p no:cacheprovider \
    -k "${BENCH_TESTS:-}" tests/cuda/test_device.py tests/cuda/test_device_rows.py
step frameworks 45 "$out/tests.txt" "$python" bench/first_contact/frameworks.py
once=(bench/gpu_once.py --problems logistic scalar fullcov50 rosenbrock10 asian chain100 noise
    scan_heston scan_queue scan_reverse)
for tool in memcheck racecheck; do
    with compute-sanitizer "$tool" 30 "$out/sanitizer.txt" \
        compute-sanitizer --tool "$tool" --error-exitcode 9 "$python" "${once[@]}"
done
step speed 95 "$work/speed.txt" "$python" bench/first_contact/speed.py "$out/speed.json"
sections=(--section SpeedOfLight --section Occupancy --section LaunchStats --section WarpStateStats)
for problem in scalar rosenbrock10 logistic fullcov50; do
    with ncu "ncu-$problem" 12 "$out/ncu.txt" \
        ncu --target-processes all -k regex:kernel -c 1 "${sections[@]}" \
        "$python" bench/gpu_once.py --problems "$problem" --dtype float32 --chunks 2048
done
step peers 175 "$work/peers.txt" "$python" bench/gpu.py --dtype float32 --minutes 2.2 --rounds 3 --folder "$work" \
    --check "${BENCH_CHECK:-131072}" \
    --name peers --problems logistic fullcov50 scalar rosenbrock10 asian chain100
cp "$work/peers.json" "$out" 2>/dev/null || tail -5 "$work/peers.txt"
step batches 40 "$work/batches.txt" "$python" bench/first_contact/batches.py "$out/speed.json" \
    --shrink "${BENCH_SHRINK:-1}"
step latency 30 "$work/latency.txt" "$python" bench/first_contact/latency.py "$out/speed.json" \
    --most "${BENCH_MOST:-1000000}"
report
