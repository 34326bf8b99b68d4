#!/usr/bin/env bash
# Parts of speech with XLM-RoBERTa, trained in English, tested in two languages, 1 GPU. Sample files.
set -euo pipefail
python -u "$(dirname "$0")/../run_token_classification.py" \
    --model_name_or_path xlm-roberta-base \
    --train_file "$(dirname "$0")/../../../data/tags/train.en.conllu" \
    --validation_file "$(dirname "$0")/../../../data/tags/dev.en.conllu" "$(dirname "$0")/../../../data/tags/dev.de.conllu" \
    --learning_rate 2e-5 \
    --num_train_epochs 3 \
    --batch_size 16 \
    --output_dir ./output/parts-of-speech/ \
    --do_train --do_eval \
    "$@"
