#!/usr/bin/env bash
# RemBERT from random weights, with the output table of the paper; fine-tune output/pretrain/fine_tuning. Measured: nothing of this size; benchmarks/rembert_output_size.py compares small models.
set -euo pipefail
python -u "$(dirname "$0")/../run_pretrain.py" \
    --model_name_or_path rembert \
    --input_dir ./shards/ \
    --objectives mmlm \
    --output_embedding_size 1664 \
    --drop_output_embeddings \
    --batch_size 64 \
    --learning_rate 2e-4 \
    --warmup_steps 15000 \
    --max_steps 1000000 \
    --output_dir ./output/pretrain/ \
    "$@"
