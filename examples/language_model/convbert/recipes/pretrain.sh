#!/usr/bin/env bash
# Pretraining of convbert-small on BookCorpus, one GPU; ./BookCorpus/train.data has a sentence a line.
# Reported: nothing. Measured on a smaller corpus: docs/results.md.
set -euo pipefail
python -u "$(dirname "$0")/../run_pretrain.py" \
    --model_type convbert \
    --model_name_or_path convbert-small \
    --input_dir ./BookCorpus/ \
    --output_dir ./pretrain/ \
    --train_batch_size 64 \
    --learning_rate 5e-4 \
    --max_seq_length 128 \
    --weight_decay 1e-2 \
    --adam_epsilon 1e-6 \
    --warmup_steps 10000 \
    --num_train_epochs 4 \
    --logging_steps 100 \
    --save_steps 10000 \
    --device gpu \
    "$@"
