#!/usr/bin/env bash
# A small BERT (4 layers, 256 wide: configs/small) from random weights. DATA_DIR=... recipes/pretrain-from-scratch.sh
# Measured on a CPU with the whole of the handbook that the sample is taken from: docs/results.md.
set -euo pipefail
python -u "$(dirname "$0")/../run_pretrain.py" \
    --model_type bert \
    --model_name_or_path "$(dirname "$0")/../configs/small" \
    --from_scratch \
    --tokenizer_name bert-base-uncased \
    --max_predictions_per_seq 20 \
    --batch_size 64 \
    --learning_rate 1e-3 \
    --weight_decay 1e-2 \
    --adam_epsilon 1e-6 \
    --warmup_steps 500 \
    --num_train_epochs 1e5 \
    --input_dir "$DATA_DIR" \
    --eval_dir "$DATA_DIR" \
    --output_dir ./tmp2/small/ \
    --logging_steps 100 \
    --save_steps 500 \
    --max_steps 10000 \
    --keep_checkpoints 1 \
    --resume_from_checkpoint latest \
    "$@"
