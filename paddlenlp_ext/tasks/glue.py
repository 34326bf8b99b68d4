"""The eight GLUE tasks, one row of data each (Wang et al. 2018, https://arxiv.org/abs/1804.07461).

Column names are those of the official archives; files and counts are in `data/README.md`.
"""

import difflib
import shutil
from pathlib import Path
from typing import BinaryIO

from paddlenlp_ext import metrics
from paddlenlp_ext.errors import DataError
from paddlenlp_ext.tasks.rows import read_examples
from paddlenlp_ext.tasks.task import Archive, Table, Task

__all__ = ["GLUE", "glue_task", "read_examples"]


def _splits(
    *text: str,
    label: str = "label",
    evaluation: tuple[str, ...] = ("dev",),
    columns: tuple[str, ...] | None = None,
) -> dict[str, Table]:
    return {
        split: Table((f"{split}.tsv",), text, label, columns) for split in ("train", *evaluation)
    }


def _tests(*text: str, names: tuple[str, ...] = ("test",)) -> dict[str, Table]:
    """The splits that the benchmark's server scores; all of their files have a header."""
    return {split: Table((f"{split}.tsv",), text, None) for split in names}


ENTAILMENT = ("entailment", "not_entailment")
_FAIR = "https://dl.fbaipublicfiles.com/"


def _archive(name: str, size: int, sha256: str, version: str = "") -> tuple[Archive, ...]:
    """Each task's archive holds a folder with the task's name."""
    return (Archive(f"{_FAIR}glue/data/{name}{version}.zip", size, sha256, f"{name}/"),)


def _split_paraphrases(folder: Path, corpus: BinaryIO, dev_ids: BinaryIO | None = None) -> None:
    """Write the rows of the Microsoft Research Paraphrase Corpus in GLUE's split.

    MRPC may not be distributed in that split: its rows come from the corpus, and a list names those
    that are GLUE's dev rows. The test rows are the corpus's own, in its order, labels and all.
    """
    if dev_ids is None:
        with (folder / "test.tsv").open("wb") as test:
            shutil.copyfileobj(corpus, test)
        return
    ids = {tuple(line.split()) for line in dev_ids}
    with (folder / "train.tsv").open("wb") as train, (folder / "dev.tsv").open("wb") as dev:
        header = next(corpus, b"")
        train.write(header)
        dev.write(header)
        for row in corpus:
            pair = tuple(row.split(b"\t")[1:3])
            (dev if pair in ids else train).write(row)


GLUE: dict[str, Task] = {
    "cola": Task(
        "CoLA",
        # The one task whose files have no header; the names are those of the CoLA paper's own page.
        _splits("sentence", columns=("source", "label", "original_label", "sentence")),
        metrics.matthews,
        labels=("0", "1"),
        label_names=("unacceptable", "acceptable"),
        folder="glue/CoLA",
        archives=_archive(
            "CoLA", 376_971, "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff"
        ),
        unlabelled=_tests("sentence"),
    ),
    "sst-2": Task(
        "SST-2",
        _splits("sentence"),
        metrics.accuracy,
        labels=("0", "1"),
        label_names=("negative", "positive"),
        folder="glue/SST-2",
        archives=_archive(
            "SST-2", 7_439_277, "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa"
        ),
        unlabelled=_tests("sentence"),
    ),
    "mrpc": Task(
        "MRPC",
        _splits("#1 String", "#2 String", label="Quality"),
        metrics.accuracy_and_f1,
        labels=("0", "1"),
        label_names=("not_equivalent", "equivalent"),
        folder="glue/MRPC",
        archives=(
            Archive(
                f"{_FAIR}senteval/senteval_data/msr_paraphrase_train.txt",
                1_047_044,
                "60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89",
            ),
            Archive(
                f"{_FAIR}glue/data/mrpc_dev_ids.tsv",
                6_222,
                "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7",
            ),
            Archive(
                f"{_FAIR}senteval/senteval_data/msr_paraphrase_test.txt",
                441_275,
                "a04e271090879aaba6423d65b94950c089298587d9c084bf9cd7439bd785f784",
                splits=("test",),
            ),
        ),
        unpack=_split_paraphrases,
        unlabelled=_tests("#1 String", "#2 String"),
    ),
    "sts-b": Task(
        "STS-B",
        _splits("sentence1", "sentence2", label="score"),
        metrics.pearson_and_spearman,
        label_range=(0.0, 5.0),
        folder="glue/STS-B",
        archives=_archive(
            "STS-B", 802_872, "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85"
        ),
        unlabelled=_tests("sentence1", "sentence2"),
    ),
    "qqp": Task(
        "QQP",
        _splits("question1", "question2", label="is_duplicate"),
        metrics.accuracy_and_f1,
        labels=("0", "1"),
        label_names=("not_duplicate", "duplicate"),
        folder="glue/QQP",
        archives=_archive(
            "QQP",
            41_696_084,
            "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0",
            "-clean",
        ),
        unlabelled=_tests("question1", "question2"),
    ),
    "mnli": Task(
        "MNLI",
        # By name, because dev files have five annotators' labels where train has one.
        _splits(
            "sentence1",
            "sentence2",
            label="gold_label",
            evaluation=("dev_matched", "dev_mismatched"),
        ),
        metrics.accuracy,
        # PaddleNLP's order, which its published checkpoints were trained with; Hugging Face's
        # data set begins with entailment.
        labels=("contradiction", "entailment", "neutral"),
        folder="glue/MNLI",
        archives=_archive(
            "MNLI", 312_783_507, "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633"
        ),
        unlabelled=_tests("sentence1", "sentence2", names=("test_matched", "test_mismatched")),
    ),
    "qnli": Task(
        "QNLI",
        _splits("question", "sentence"),
        metrics.accuracy,
        labels=ENTAILMENT,
        folder="glue/QNLI",
        archives=_archive(
            "QNLI",
            10_627_589,
            "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5",
            "v2",
        ),
        unlabelled=_tests("question", "sentence"),
    ),
    "rte": Task(
        "RTE",
        _splits("sentence1", "sentence2"),
        metrics.accuracy,
        labels=ENTAILMENT,
        folder="glue/RTE",
        archives=_archive(
            "RTE", 697_150, "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee"
        ),
        unlabelled=_tests("sentence1", "sentence2"),
    ),
}


def glue_task(name: str) -> Task:
    """Return the task called `name` in any common spelling: SST-2, sst-2, SST2, sst_2.

    Raises:
        DataError: There is no such task.
    """
    tasks = {_bare(key): task for key, task in GLUE.items()}
    if (task := tasks.get(_bare(name))) is not None:
        return task
    near = difflib.get_close_matches(_bare(name), tasks, n=1)
    hint = f"did you mean {tasks[near[0]].name!r}? " if near else ""
    known = ", ".join(task.name for task in GLUE.values())
    raise DataError(f"unknown GLUE task {name!r} (`task_name`); {hint}known: {known}")


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
