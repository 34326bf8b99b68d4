#!/usr/bin/env bash
# QNLI with bert-base-uncased, one GPU. Reported (dev, one run): acc 91.67. Measured: nothing yet.
set -euo pipefail
python -u "$(dirname "$0")/../run_glue.py" \
    --model_type bert \
    --model_name_or_path bert-base-uncased \
    --task_name QNLI \
    --max_seq_length 128 \
    --batch_size 32 \
    --learning_rate 2e-5 \
    --num_train_epochs 3 \
    --logging_steps 100 \
    --save_steps 500 \
    --output_dir ./tmp/QNLI/ \
    --n_gpu 1 \
    "$@"
