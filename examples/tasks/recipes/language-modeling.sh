#!/usr/bin/env bash
# RemBERT on the sample text, masked tokens, 1 GPU; its head has a table of its own and is newly initialized.
set -euo pipefail
python -u "$(dirname "$0")/../run_language_modeling.py" \
    --model_name_or_path rembert \
    --train_file "$(dirname "$0")/../../../data/pretraining/sample_text.txt" \
    --validation_file "$(dirname "$0")/../../../data/pretraining/sample_text_held_out.txt" \
    --max_seq_length 256 \
    --batch_size 16 \
    --learning_rate 2e-5 \
    --warmup_proportion 0.1 \
    --output_dir ./output/language-modeling/ \
    --do_train --do_eval \
    "$@"
