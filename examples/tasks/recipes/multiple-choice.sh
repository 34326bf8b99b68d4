#!/usr/bin/env bash
# The sample rows in SWAG's layout with bert-base-uncased, 1 GPU. SWAG itself: give its train.csv and val.csv.
set -euo pipefail
python -u "$(dirname "$0")/../run_multiple_choice.py" \
    --model_name_or_path bert-base-uncased \
    --train_file "$(dirname "$0")/../../../data/choice/swag/train.csv" \
    --validation_file "$(dirname "$0")/../../../data/choice/swag/val.csv" \
    --max_seq_length 80 \
    --batch_size 16 \
    --learning_rate 5e-5 \
    --output_dir ./output/multiple-choice/ \
    --do_train --do_eval \
    "$@"
