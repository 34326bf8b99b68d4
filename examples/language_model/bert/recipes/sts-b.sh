#!/usr/bin/env bash
# STS-B with bert-base-uncased, one GPU. Reported (dev, one run): Pearson/Spearman 88.85/88.35. Measured with another encoder: docs/results.md.
set -euo pipefail
python -u "$(dirname "$0")/../run_glue.py" \
    --model_type bert \
    --model_name_or_path bert-base-uncased \
    --task_name STS-B \
    --max_seq_length 128 \
    --batch_size 32 \
    --learning_rate 2e-5 \
    --num_train_epochs 3 \
    --logging_steps 100 \
    --save_steps 500 \
    --output_dir ./tmp/STS-B/ \
    --n_gpu 1 \
    "$@"
