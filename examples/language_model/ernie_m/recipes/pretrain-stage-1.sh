#!/usr/bin/env bash
# ERNIE-M's first stage: sentences, and pairs in two ways; from random weights, in the shape of ernie-m-base. Measured: nothing of this size; benchmarks/cross_lingual_pretraining.py compares small models.
set -euo pipefail
python -u "$(dirname "$0")/../run_pretrain.py" \
    --model_name_or_path ernie-m-base \
    --from_scratch \
    --input_dir ./shards/ \
    --objectives mmlm,tlm,camlm \
    --batch_size 64 \
    --learning_rate 2e-4 \
    --warmup_steps 10000 \
    --max_steps 200000 \
    --output_dir ./output/stage-1/ \
    "$@"
