"""Write what all sides of a measurement read: weights, batches of SST-2, texts to tokenize.

Run in a process of its own, so that those that measure find memory as they would alone.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.inputs import LABELS
from benchmarks.jobs import NEW_WORDS, SENTENCES, TEXTS, Batches
from benchmarks.shapes import SHAPES
from paddlenlp_ext.process import runtime

SAMPLE = 4000  # texts of a timed call, if there are as many
SAMPLES = 4  # one for warming up


def weights(name: str, folder: Path) -> None:
    """Write a model with new weights, in the layout that all sides read."""
    import paddle

    from paddlenlp_ext.models.auto import model_class

    shape = SHAPES[name]
    cls = model_class(shape.family, "ForSequenceClassification")
    config = cls.presets[shape.preset] if shape.preset else cls.config_class()
    paddle.seed(7)
    model = cls(config.replace(**shape.sizes, num_labels=LABELS))
    model.save_pretrained(folder / name, format="huggingface")


def export(name: str, folder: Path) -> None:
    """Write the same model as an ONNX file beside its weights."""
    from paddlenlp_ext.inference.export import export_onnx
    from paddlenlp_ext.models.auto import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder / name)
    export_onnx(model, folder / name)


def sentences(wanted: list[Batches], data_dir: str, vocabulary: str, folder: Path) -> None:
    """Write batches of SST-2's training sentences.

    Args:
        wanted: Which.
        data_dir: Of the task's files.
        vocabulary: Folder with a vocab.txt.
        folder: For the files.
    """
    from paddlenlp_ext.tokenizers.bert import BertTokenizer

    texts = read_sentences(data_dir)
    tokenizer = BertTokenizer(Path(vocabulary) / "vocab.txt")
    for batches in wanted:
        ids = tokenizer(texts, truncation=True, max_length=batches.length)["input_ids"]
        lengths = list(map(len, ids))
        chosen = [[ids[row] for row in rows] for rows in choose(lengths, batches)]
        source = f"{len(ids):,} sentences of {np.mean(lengths):.1f} tokens"
        write(folder / batches.file_name, source, chosen)


def choose(lengths: list[int], batches: Batches) -> Iterator[list[int]]:
    """Choose the rows of each batch.

    Those of a training set's first window of 50 batches. Grouped by length, they are taken at even
    distances from the longest to the shortest, so that a few have the mean length of all.

    Args:
        lengths: Tokens of each sentence.
        batches: Kind, size and count.
    """
    from paddlenlp_ext.tasks.batches import WINDOW, BatchOrder

    window = np.random.default_rng(3).permutation(len(lengths))[: WINDOW * batches.size]
    grouped = batches.kind == "grouped"
    known = [lengths[row] for row in window] if grouped else None
    order = BatchOrder(len(window), batches.size, seed=1, lengths=known)
    all_batches = [[int(window[at]) for at in rows] for rows in order.rows()]
    if grouped:
        all_batches.sort(key=lambda rows: -max(lengths[row] for row in rows))
    distance = len(all_batches) / batches.count
    return (all_batches[int(distance * (number + 0.5))] for number in range(batches.count))


def texts_to_tokenize(
    source: Path, data_dir: str, vocabulary: Path, multilingual: Path | None, folder: Path
) -> None:
    """Write samples of texts, and the files of the tokenizers.

    Args:
        source: Every field of its .tsv files and every line of its .txt files is a text.
        data_dir: Of SST-2's files.
        vocabulary: Folder with a vocab.txt.
        multilingual: Folder with a sentencepiece model and a vocab.txt.
        folder: For the files.
    """
    mixed = read_texts(source)
    new, english = list(new_words(mixed)), read_sentences(data_dir)
    for name, texts in ((TEXTS, mixed), (NEW_WORDS, new), (SENTENCES, english)):
        random.Random(0).shuffle(texts)
        size = min(SAMPLE, len(texts) // SAMPLES)
        samples = [texts[size * number : size * (number + 1)] for number in range(SAMPLES)]
        write(folder / name, f"{len(texts):,} texts", samples)
    (folder / "bert").mkdir(exist_ok=True)
    shutil.copy(vocabulary / "vocab.txt", folder / "bert/vocab.txt")
    if multilingual:
        (folder / "multilingual").mkdir(exist_ok=True)
        shutil.copy(multilingual / "vocab.txt", folder / "multilingual/vocab.txt")
        model = next(multilingual.glob("*.model"))
        shutil.copy(model, folder / "multilingual/sentencepiece.model")


def write(path: Path, source: str, rows: object) -> None:
    """Write rows, and what they were taken from."""
    path.write_text(json.dumps({"source": source, "rows": rows}))


def read_sentences(data_dir: str) -> list[str]:
    """Collect SST-2's sentences for training."""
    from paddlenlp_ext.tasks.glue import glue_task, read_examples

    return [row.text_a for row in read_examples(glue_task("SST-2"), "train", data_dir)]


def read_texts(folder: Path) -> list[str]:
    """Collect the distinct texts of a folder, in a fixed order."""
    texts: dict[str, None] = {}
    for path in sorted([*folder.rglob("*.tsv"), *folder.rglob("*.txt")]):
        if not path.name.endswith("vocab.txt"):
            for line in path.read_text("utf-8", errors="replace").split("\n"):
                texts.update(dict.fromkeys(line.split("\t")))
    return list(texts)


def new_words(texts: list[str]) -> Iterator[str]:
    """Leave of each text the words that are in no text before it; nothing of a text without any."""
    seen: set[str] = set()
    for text in texts:
        if words := [word for word in dict.fromkeys(text.split()) if word not in seen]:
            seen.update(words)
            yield " ".join(words)


def main() -> None:
    """Prepare what the order on the command line asks for."""
    order = json.loads(sys.argv[1])
    runtime.tune()
    runtime.import_paddle()
    folder = Path(order["folder"])
    for name in order["shapes"]:
        weights(name, folder)
    for name in order["exports"]:
        export(name, folder)
    if wanted := [Batches(**one) for one in order["batches"]]:
        sentences(wanted, order["sst2"], order["vocabulary"], folder)
    if order["texts"]:
        multilingual = order["multilingual"] and Path(order["multilingual"])
        vocabulary = Path(order["vocabulary"])
        texts_to_tokenize(Path(order["texts"]), order["sst2"], vocabulary, multilingual, folder)


if __name__ == "__main__":
    main()
