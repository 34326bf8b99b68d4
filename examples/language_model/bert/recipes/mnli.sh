#!/usr/bin/env bash
# MNLI with bert-base-uncased, one GPU. Reported (dev, one run): acc m/mm 84.42/84.83. Measured: nothing yet.
set -euo pipefail
python -u "$(dirname "$0")/../run_glue.py" \
    --model_type bert \
    --model_name_or_path bert-base-uncased \
    --task_name MNLI \
    --max_seq_length 128 \
    --batch_size 32 \
    --learning_rate 2e-5 \
    --num_train_epochs 3 \
    --logging_steps 100 \
    --save_steps 500 \
    --output_dir ./tmp/MNLI/ \
    --n_gpu 1 \
    "$@"
