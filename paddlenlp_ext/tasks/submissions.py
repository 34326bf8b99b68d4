"""The files that GLUE's server takes: a table of labels a task, all of them in one ZIP archive.

The layouts are those of https://gluebenchmark.com/faq: a header `index<TAB>prediction`, numbers of
rows from 0, labels as they stand in the data; scores of STS-B from 0 to 5.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.files.disk import replace_file
from paddlenlp_ext.tasks.task import Task

HEADER = "index\tprediction"
# Rows of each file that the server expects; AX is the diagnostic set, for a model of MNLI.
ROWS = {
    "AX.tsv": 1104,
    "CoLA.tsv": 1063,
    "MNLI-m.tsv": 9796,
    "MNLI-mm.tsv": 9847,
    "MRPC.tsv": 1725,
    "QNLI.tsv": 5463,
    "QQP.tsv": 390965,
    "RTE.tsv": 3000,
    "SST-2.tsv": 1821,
    "STS-B.tsv": 1379,
    "WNLI.tsv": 146,
}
ENDINGS = {"test": "", "test_matched": "-m", "test_mismatched": "-mm"}
ARCHIVE = "submission.zip"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first that ZIP has: equal files make equal archives


def file_name(task: Task, split: str) -> str:
    """Return what the server calls the predictions of a split."""
    return f"{task.name}{ENDINGS[split]}.tsv"


def write_submission(folder: Path, task: Task, split: str, logits: npt.NDArray[np.float32]) -> Path:
    """Write the predictions of a split in GLUE's layout.

    Args:
        folder: Where to; made if it is not there.
        task: One of GLUE's.
        split: One of its unlabelled ones.
        logits: Of all of its rows, in their order, columns in the order of `task.labels`; [N, C].

    Raises:
        WeightsError: The file cannot be written; what was there before is whole.
    """
    if task.labels is None:
        low, high = task.label_range or (-np.inf, np.inf)
        answers = [f"{score:.6f}" for score in np.clip(logits.reshape(-1), low, high)]
    else:
        answers = [task.labels[number] for number in logits.argmax(axis=-1)]
    path = folder / file_name(task, split)
    folder.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as temporary:
        rows = (f"{number}\t{answer}\n" for number, answer in enumerate(answers))
        temporary.write_text(f"{HEADER}\n{''.join(rows)}", encoding="utf-8")
    return path


def pack_submission(folder: Path) -> tuple[Path, list[str]]:
    """Pack the files of all tasks that are in a folder, as the server takes them.

    Returns:
        The archive, and what it lacks: a line a file that is not there or has other than its rows.

    Raises:
        WeightsError: The archive cannot be written; what was there before is whole.
    """
    there = [name for name in ROWS if (folder / name).is_file()]
    path = folder / ARCHIVE
    with replace_file(path) as temporary, zipfile.ZipFile(temporary, "w") as zipped:
        for name in there:
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            zipped.writestr(info, (folder / name).read_bytes())
    lacking = [f"no {name}" for name in ROWS if name not in there]
    for name in there:
        found = _count(folder / name)
        if found != ROWS[name]:
            lacking.append(f"{name} has {found:,} rows, officially {ROWS[name]:,}")
    return path, lacking


def _count(path: Path) -> int:
    """Count the rows of a file, the header apart."""
    with path.open("rb") as file:
        return sum(1 for _ in file) - 1
