#!/usr/bin/env bash
# Go on from the weights of a folder on data of one's own: MODEL_DIR=... DATA_DIR=... recipes/pretrain-continue.sh
# The folder may be PaddleNLP's, transformers' or ours. Measured with MiniLM on a CPU: docs/results.md.
set -euo pipefail
python -u "$(dirname "$0")/../run_pretrain.py" \
    --model_type bert \
    --model_name_or_path "$MODEL_DIR" \
    --max_predictions_per_seq 20 \
    --batch_size 32 \
    --learning_rate 1e-4 \
    --weight_decay 1e-2 \
    --adam_epsilon 1e-6 \
    --warmup_steps 100 \
    --num_train_epochs 1e5 \
    --input_dir "$DATA_DIR" \
    --eval_dir "$DATA_DIR" \
    --output_dir ./tmp2/continued/ \
    --logging_steps 100 \
    --save_steps 250 \
    --max_steps 2000 \
    --keep_checkpoints 1 \
    --resume_from_checkpoint latest \
    "$@"
