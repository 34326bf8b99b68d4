"""The eight GLUE tasks, one row of data each (Wang et al. 2018, https://arxiv.org/abs/1804.07461).

Column names are those of the official archives; files and counts are in `data/README.md`.
"""

import difflib

from paddlenlp_ext import metrics
from paddlenlp_ext.errors import DataError
from paddlenlp_ext.tasks.rows import read_examples
from paddlenlp_ext.tasks.task import Table, Task

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


ENTAILMENT = ("entailment", "not_entailment")

GLUE: dict[str, Task] = {
    "cola": Task(
        "CoLA",
        # The one task whose files have no header; the names are those of the CoLA paper's own page.
        _splits("sentence", columns=("source", "label", "original_label", "sentence")),
        metrics.matthews,
        labels=("0", "1"),
    ),
    "sst-2": Task("SST-2", _splits("sentence"), metrics.accuracy, labels=("0", "1")),
    "mrpc": Task(
        "MRPC",
        _splits("#1 String", "#2 String", label="Quality"),
        metrics.accuracy_and_f1,
        labels=("0", "1"),
    ),
    "sts-b": Task(
        "STS-B",
        _splits("sentence1", "sentence2", label="score"),
        metrics.pearson_and_spearman,
        label_range=(0.0, 5.0),
    ),
    "qqp": Task(
        "QQP",
        _splits("question1", "question2", label="is_duplicate"),
        metrics.accuracy_and_f1,
        labels=("0", "1"),
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
    ),
    "qnli": Task("QNLI", _splits("question", "sentence"), metrics.accuracy, labels=ENTAILMENT),
    "rte": Task("RTE", _splits("sentence1", "sentence2"), metrics.accuracy, labels=ENTAILMENT),
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
    raise DataError(f"unknown GLUE task {name!r} (--task_name); {hint}known: {known}")


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")
