#!/usr/bin/env bash
# Pretraining with bert-base-uncased's shape from random weights, one GPU: the product page's command.
# DATA_DIR=... recipes/pretrain.sh; a million steps take weeks. Not run here; see docs/results.md.
set -euo pipefail
python -u "$(dirname "$0")/../run_pretrain.py" \
    --model_type bert \
    --model_name_or_path bert-base-uncased \
    --max_predictions_per_seq 20 \
    --batch_size 32 \
    --learning_rate 1e-4 \
    --weight_decay 1e-2 \
    --adam_epsilon 1e-6 \
    --warmup_steps 10000 \
    --num_train_epochs 1e5 \
    --input_dir "$DATA_DIR" \
    --output_dir ./tmp2/ \
    --logging_steps 100 \
    --save_steps 20000 \
    --max_steps 1000000 \
    --keep_checkpoints 3 \
    --resume_from_checkpoint latest \
    --n_gpu 1 \
    "$@"
