#!/usr/bin/env bash
# QQP with bert-base-uncased, one GPU. Reported (dev, one run): acc/F1 90.58/87.35. Measured: nothing yet.
set -euo pipefail
python -u "$(dirname "$0")/../run_glue.py" \
    --model_type bert \
    --model_name_or_path bert-base-uncased \
    --task_name QQP \
    --max_seq_length 128 \
    --batch_size 32 \
    --learning_rate 2e-5 \
    --num_train_epochs 3 \
    --logging_steps 100 \
    --save_steps 500 \
    --output_dir ./tmp/QQP/ \
    --n_gpu 1 \
    "$@"
