#!/usr/bin/env bash
# XNLI with ernie-m-base, cross-lingual-transfer, 1 GPU. Reported (paper, test): average 77.3 (base), 82.0 (large). Measured with another encoder: docs/results.md.
set -euo pipefail
python -u "$(dirname "$0")/../run_classifier.py" \
    --task_type cross-lingual-transfer \
    --batch_size 16 \
    --model_name_or_path ernie-m-base \
    --save_steps 12272 \
    --output_dir ./output/cross-lingual-transfer/ \
    "$@"
