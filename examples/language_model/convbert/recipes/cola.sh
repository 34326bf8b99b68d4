#!/usr/bin/env bash
# CoLA with convbert-small, one GPU. Reported (dev, one run): mcc 56.22. Measured: nothing yet.
set -euo pipefail
python -u "$(dirname "$0")/../run_glue.py" \
    --model_type convbert \
    --model_name_or_path convbert-small \
    --task_name CoLA \
    --max_seq_length 128 \
    --batch_size 256 \
    --learning_rate 1e-4 \
    --num_train_epochs 3 \
    --logging_steps 100 \
    --save_steps 100 \
    --output_dir ./glue/CoLA/ \
    --device gpu \
    "$@"
