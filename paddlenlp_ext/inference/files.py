"""Classify the rows of a user's file with a saved model, an exported program or an ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.inference.pipelines import pipeline
from paddlenlp_ext.tasks.columns import Columns, find_columns
from paddlenlp_ext.tasks.prediction_files import write_labels
from paddlenlp_ext.tasks.predictions import LabelPredictions, kind_of
from paddlenlp_ext.tasks.records import Record, read_records

Texts = tuple[str, str | None]


def predict_file(
    model: str | Path,
    path: Path,
    folder: Path | None = None,
    *,
    text: str | None = None,
    pair: str | None = None,
    device: str | None = None,
    batch_size: int = 32,
    max_length: int | None = None,
) -> tuple[int, Path]:
    """Predict the labels of a file's rows, and write them down.

    Args:
        model: What `pipeline` takes.
        path: CSV, TSV, JSON, JSONL or text; a label in it is not read.
        folder: For the predictions; None is that of the file.
        text: Column of the text; None guesses it by its name.
        pair: Column of a second text.
        device: As `pipeline` takes it.
        batch_size: Rows that are computed together.
        max_length: Longer texts are cut.

    Returns:
        How many rows were predicted, and the table `predictions_<file>.tsv`.

    Raises:
        UserError: A row or the model cannot be used; nothing was written.
    """
    sources, texts = read_texts(path, Columns(text or "", pair))
    classify = pipeline(
        "text-classification", model, device=device, batch_size=batch_size, max_length=max_length
    )
    config = classify.config
    names = config.label_names
    scores = np.array(
        [
            [{one["label"]: one["score"] for one in row}[name] for name in names]
            for row in classify(texts, top_k=None)
        ],
        np.float64,
    )
    kind = kind_of(config.num_labels, config.problem_type)
    predictions = LabelPredictions(sources, scores, () if kind == "none" else names, kind)
    table = write_labels(folder or path.parent, path.name.partition(".")[0], predictions)
    return len(sources), table


def read_texts(path: Path, given: Columns) -> tuple[list[str], list[Texts]]:
    """Read the texts of a file, and where each stands ("new.csv:2").

    Raises:
        DataError: A row has no text, or nothing says which column does.
    """
    sources: list[str] = []
    texts: list[Texts] = []
    columns: Columns | None = None
    for record in read_records(path):
        if not isinstance(record, Record):
            raise DataError(f"{path.parent / record.source}: {record.reason}")
        columns = columns or find_columns(given, [*record.values], str(path), labelled=False)
        found = [record.values.get(name) for name in columns.texts]
        if not all(isinstance(one, str) and one.strip() for one in found):
            raise DataError(
                f"{path.parent / record.source}: expected a text in {' and '.join(columns.texts)}; "
                "mend the row, or take it out"
            )
        sources.append(record.source)
        texts.append((str(found[0]), str(found[1]) if len(found) > 1 else None))
    if not texts:
        raise DataError(f"{path}: expected rows, got none")
    return sources, texts
