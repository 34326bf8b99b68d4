#!/usr/bin/env bash
# Questions with RemBERT, trained in English, tested in two languages, 1 GPU. Sample files.
set -euo pipefail
python -u "$(dirname "$0")/../run_question_answering.py" \
    --model_name_or_path rembert \
    --train_file "$(dirname "$0")/../../../data/qa/train.en.json" \
    --validation_file "$(dirname "$0")/../../../data/qa/dev.en.json" "$(dirname "$0")/../../../data/qa/dev.de.json" \
    --version_2_with_negative \
    --learning_rate 1e-5 \
    --num_train_epochs 3 \
    --batch_size 16 \
    --output_dir ./output/question-answering/ \
    --do_train --do_eval \
    "$@"
