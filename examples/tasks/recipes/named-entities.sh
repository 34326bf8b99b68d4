#!/usr/bin/env bash
# Named entities with BERT, 1 GPU. Sample files; give your own with --train_file and --validation_file.
set -euo pipefail
python -u "$(dirname "$0")/../run_token_classification.py" \
    --model_name_or_path bert-base-cased \
    --train_file "$(dirname "$0")/../../../data/tags/entities-train.conll" \
    --validation_file "$(dirname "$0")/../../../data/tags/entities-dev.conll" \
    --test_file "$(dirname "$0")/../../../data/tags/entities-dev.conll" \
    --learning_rate 5e-5 \
    --num_train_epochs 3 \
    --batch_size 16 \
    --output_dir ./output/named-entities/ \
    --do_train --do_eval --do_predict \
    "$@"
