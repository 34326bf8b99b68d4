#!/usr/bin/env bash
# ERNIE-M's second stage: the same, and sentences beside translations that the model makes up. Measured: nothing of this size; benchmarks/cross_lingual_pretraining.py compares small models.
set -euo pipefail
python -u "$(dirname "$0")/../run_pretrain.py" \
    --model_name_or_path ./output/stage-1/model_200000/ \
    --input_dir ./shards/ \
    --objectives mmlm,tlm,camlm,btmlm \
    --batch_size 64 \
    --learning_rate 1e-4 \
    --warmup_steps 2000 \
    --max_steps 50000 \
    --output_dir ./output/stage-2/ \
    "$@"
