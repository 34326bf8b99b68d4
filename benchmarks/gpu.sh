#!/bin/sh
# Check and time this project on a machine with a GPU, in under ten minutes; installs nothing.
#
#     sh benchmarks/gpu.sh              # the GPU, with the `python` that is active
#     PYTHON=.venv/bin/python sh benchmarks/gpu.sh
#     DEVICE=cpu sh benchmarks/gpu.sh   # what of it a CPU can, at a small size
#
# It needs paddlepaddle-gpu and this project; the sides of torch and transformers are compared where
# both are installed. What could not run is said at the end; the status is 1 if a check failed.
set -u
cd "$(dirname "$0")/.." || exit 2
PYTHON=${PYTHON:-python}
DEVICE=${DEVICE:-gpu}
FAILED=0
LEFT_OUT=""

leave_out() {
    LEFT_OUT="$LEFT_OUT
- $1"
}

has() {
    "$PYTHON" -c "import sys, importlib.util as u; sys.exit(not all(map(u.find_spec, sys.argv[1:])))" "$@"
}

# Run a part for so many seconds at most.
part() {
    echo
    echo "== $1 (at most $2 s)"
    shown=$1 seconds=$2
    shift 2
    timeout "$seconds" "$@"
    status=$?
    if [ "$status" = 124 ]; then leave_out "$shown: it took longer than $seconds s"
    elif [ "$status" != 0 ]; then FAILED=1; leave_out "$shown: status $status"; fi
}

if ! has paddle paddlenlp_ext; then
    echo "$PYTHON has no PaddlePaddle, or not this project: pip install -e '.[gpu]'" >&2
    exit 2
fi
if [ "$DEVICE" = gpu ] && ! "$PYTHON" -c "from paddlenlp_ext.process.devices import check_device; check_device('gpu')"; then
    echo "no GPU that PaddlePaddle can use; DEVICE=cpu tries this script on a CPU" >&2
    exit 2
fi

echo "== machine"
if command -v nvidia-smi > /dev/null; then
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
fi
"$PYTHON" - << 'PYTHON_END'
import platform
from importlib.metadata import PackageNotFoundError, version

print("Python", platform.python_version())
for name in ("paddlepaddle-gpu", "paddlepaddle", "paddlenlp-ext", "torch", "transformers"):
    try:
        print(name, version(name))
    except PackageNotFoundError:
        print(name, "is not installed")
PYTHON_END

if [ "$DEVICE" = cpu ]; then
    SIZE="--layers 2 --width 128 --batch 4 --length 32 --steps 5 --warmup 2"
else
    SIZE="--layers 12 --width 768 --batch 32 --length 128 --steps 50 --warmup 10"
fi

part "checks" 120 "$PYTHON" -m benchmarks.device_checks --device "$DEVICE"
# shellcheck disable=SC2086  # several words
part "steps, ours" 100 "$PYTHON" -m benchmarks.device_steps --device "$DEVICE" $SIZE
# shellcheck disable=SC2086
part "steps, ours, only what is read" 80 \
    "$PYTHON" -m benchmarks.device_steps --device "$DEVICE" --unread $SIZE
if has torch transformers; then
    if [ "$DEVICE" = cpu ] || "$PYTHON" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
        # shellcheck disable=SC2086
        part "steps, transformers" 120 \
            "$PYTHON" -m benchmarks.device_steps --device "$DEVICE" --side transformers $SIZE
    else
        leave_out "steps, transformers: torch finds no GPU"
    fi
else
    leave_out "steps, transformers: torch or transformers is not installed"
fi

# The gradient of one batch by one process and by two, with buckets summed while it is computed.
several() {
    folder=$(mktemp -d) || return 1
    PYTHONPATH=. "$PYTHON" tests/training/gradient_run.py 8 1 "$folder/1.npz" "$DEVICE" || return 1
    how="--nproc_per_node 2"
    [ "$DEVICE" = gpu ] && how="--devices 0,1"
    # shellcheck disable=SC2086
    PYTHONPATH=. timeout 80 "$PYTHON" -m paddle.distributed.launch --log_dir "$folder/log" $how \
        tests/training/gradient_run.py 4 1 "$folder/2.npz" "$DEVICE" > "$folder/launch" 2>&1 ||
        { cat "$folder/launch"; return 1; }
    "$PYTHON" - "$folder" << 'PYTHON_END'
import sys

import numpy as np

one, two = (np.load(f"{sys.argv[1]}/{count}.npz") for count in (1, 2))
apart = max(float(np.abs(one[name] - two[name]).max()) for name in one)
print(f"largest difference of {len(one.files)} gradients: {apart:.1e}")
sys.exit(one.files != two.files or apart > 1e-4)
PYTHON_END
    status=$?
    rm -rf "$folder"
    return "$status"
}
GPUS=2
[ "$DEVICE" = gpu ] && GPUS=$("$PYTHON" -c "import paddle; print(paddle.device.cuda.device_count())")
if [ "$GPUS" -gt 1 ]; then
    echo
    echo "== two processes (at most 100 s)"
    several || { FAILED=1; leave_out "two processes: failed"; }
else
    leave_out "two processes: they need two GPUs"
fi

echo
if [ -n "$LEFT_OUT" ]; then echo "left out or failed:$LEFT_OUT"; else echo "all parts ran"; fi
exit "$FAILED"
