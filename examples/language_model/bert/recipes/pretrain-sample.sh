#!/usr/bin/env bash
# A BERT of two layers from random weights on the sample data, on a CPU: minutes. Shows that everything
# works; what such a model learns is how often words are. Downloads the vocabulary of bert-base-uncased.
set -euo pipefail
python -u "$(dirname "$0")/../run_pretrain.py" \
    --model_type bert \
    --model_name_or_path "$(dirname "$0")/../configs/tiny" \
    --from_scratch \
    --tokenizer_name bert-base-uncased \
    --max_predictions_per_seq 20 \
    --batch_size 16 \
    --learning_rate 1e-3 \
    --weight_decay 1e-2 \
    --adam_epsilon 1e-6 \
    --warmup_steps 20 \
    --num_train_epochs 1 \
    --input_dir "$(dirname "$0")/../../../../data/pretraining" \
    --eval_dir "$(dirname "$0")/../../../../data/pretraining" \
    --output_dir ./tmp2/sample/ \
    --logging_steps 10 \
    --save_steps 50 \
    --keep_checkpoints 1 \
    --n_gpu 0 \
    "$@"
