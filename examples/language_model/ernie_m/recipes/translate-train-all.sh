#!/usr/bin/env bash
# XNLI with ernie-m-base, translate-train-all, 1 GPU. Reported (paper, test): average 80.6 (base), 84.2 (large). Measured with another encoder: docs/results.md.
set -euo pipefail
python -u "$(dirname "$0")/../run_classifier.py" \
    --task_type translate-train-all \
    --batch_size 16 \
    --model_name_or_path ernie-m-base \
    --save_steps 12272 \
    --output_dir ./output/translate-train-all/ \
    "$@"
