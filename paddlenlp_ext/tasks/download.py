"""Get the official files of the data sets: download, check, unpack, and leave out broken rows.

Archives are kept in `archives/` and unpacked files in `data/` of the cache folder
($PADDLENLP_EXT_HOME, by default ~/.cache/paddlenlp_ext); both are verified before each use. Digests
are those that Hugging Face's and TensorFlow's data set collections publish for the same files.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.files.download import DownloadError, cache_folder, download
from paddlenlp_ext.tasks.archives import extract, opened
from paddlenlp_ext.tasks.rows import BOM, BadRow, read_rows
from paddlenlp_ext.tasks.task import Table, Task
from paddlenlp_ext.tasks.unpacked import find_changed, note

MAX_BAD_SHARE = 0.001  # of a file's rows; of QQP's, the worst, some 0.00007 are broken


@dataclass(frozen=True)
class Archive:
    """A published file: its address, its bytes and their SHA-256."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


_FAIR = "https://dl.fbaipublicfiles.com/"

# One archive a task; each holds a folder with the task's name. MRPC may not be distributed in
# GLUE's split: its rows come from the corpus, and a list says which of them are GLUE's dev rows.
GLUE_ARCHIVES = {
    "CoLA": Archive(
        _FAIR + "glue/data/CoLA.zip",
        376_971,
        "f212fcd832b8f7b435fb991f101abf89f96b933ab400603bf198960dfc32cbff",
    ),
    "SST-2": Archive(
        _FAIR + "glue/data/SST-2.zip",
        7_439_277,
        "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa",
    ),
    "STS-B": Archive(
        _FAIR + "glue/data/STS-B.zip",
        802_872,
        "e60a6393de5a8b5b9bac5020a1554b54e3691f9d600b775bd131e613ac179c85",
    ),
    "QQP": Archive(
        _FAIR + "glue/data/QQP-clean.zip",
        41_696_084,
        "40e7c862c04eb26ee04b67fd900e76c45c6ba8e6d8fab4f8f1f8072a1a3fbae0",
    ),
    "MNLI": Archive(
        _FAIR + "glue/data/MNLI.zip",
        312_783_507,
        "e7c1d896d26ed6caf700110645df426cc2d8ebf02a5ab743d5a5c68ac1c83633",
    ),
    "QNLI": Archive(
        _FAIR + "glue/data/QNLIv2.zip",
        10_627_589,
        "e634e78627a29adaecd4f955359b22bf5e70f2cbd93b493f2d624138a0c0e5f5",
    ),
    "RTE": Archive(
        _FAIR + "glue/data/RTE.zip",
        697_150,
        "6bf86de103ecd335f3441bd43574d23fef87ecc695977a63b82d5efb206556ee",
    ),
}
MRPC_CORPUS = Archive(
    _FAIR + "senteval/senteval_data/msr_paraphrase_train.txt",
    1_047_044,
    "60a9b09084528f0673eedee2b69cb941920f0b8cd0eeccefc464a98768457f89",
)
MRPC_DEV_IDS = Archive(
    _FAIR + "glue/data/mrpc_dev_ids.tsv",
    6_222,
    "971d7767d81b997fd9060ade0ec23c4fc31cbb226a55d1bd4a1bac474eb81dc7",
)
XNLI = Archive(
    _FAIR + "XNLI/XNLI-1.0.zip",
    17_865_352,
    "4ba1d5e1afdb7161f0f23c66dc787802ccfa8a25a3ddd3b165a35e50df346ab1",
)
XNLI_TRANSLATED = Archive(
    _FAIR + "XNLI/XNLI-MT-1.0.zip",
    466_098_360,
    "f732517ba2fb1d550e9f3c2aabaef6017c91ee2dcec90e878f138764d224db05",
)
PAWS_X = Archive(
    "https://storage.googleapis.com/paws/pawsx/x-final.tar.gz",
    30_282_057,
    "4146db499101d66e68ae4c8ed3cf9dadecd625f44b7d8cf3d4a0fe93afc4fd9f",
)


def glue_folder(task: Task) -> Path:
    """Return the folder with the official files of a GLUE task, downloaded on the first use.

    Files that are not as they were unpacked are unpacked anew, with a warning.

    Raises:
        DataError: The files cannot be had; the message has the address and the place to put the
            file by hand.
    """
    folder = cache_folder() / "data" / "glue" / task.name
    tables = {name: table for table in task.splits.values() for name in table.files}
    try:
        # Other users of the machine have no business in a cache that training trusts.
        cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            sources = [archive.sha256 for archive in _archives(task)]
            if find_changed(folder, tables, sources):
                _fill(folder, task, tables)
                note(folder, tables, sources)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return folder


def fetch(archive: Archive) -> Path:
    """Return an archive in the cache, downloaded if need be; its bytes are the published ones.

    Raises:
        DataError: It cannot be had, or a file that was put there by hand is another one.
    """
    path = cache_folder() / "archives" / archive.name
    try:
        download(archive.url, path, sha256=archive.sha256, size=archive.size)
    except DownloadError as error:
        raise DataError(
            f"{archive.url}: {error}; download it elsewhere and put it at {path}, or give a folder "
            "with the data as --data_dir"
        ) from error
    return path


def _archives(task: Task) -> tuple[Archive, ...]:
    return (MRPC_CORPUS, MRPC_DEV_IDS) if task.name == "MRPC" else (GLUE_ARCHIVES[task.name],)


def _fill(folder: Path, task: Task, tables: Mapping[str, Table]) -> None:
    """Unpack the task's files beside its folder, and move those rows there that can be read."""
    raw = folder.with_name(f".{folder.name}.unpacked")
    shutil.rmtree(raw, ignore_errors=True)  # of a process that was killed
    try:
        if task.name == "MRPC":
            _split_mrpc(raw)
        else:
            archive = GLUE_ARCHIVES[task.name]
            members = {f"{task.name}/{name}": raw / name for name in tables}
            extract(fetch(archive), members, archive.sha256)
        bad_rows = [row for name in tables for row in _clean(raw / name, task, tables[name])]
        report = "".join(f"{source}: {reason}\n" for source, reason in bad_rows)
        (raw / "bad_rows.txt").write_text(report, encoding="utf-8")
        for name in ("bad_rows.txt", *tables):
            os.replace(raw / name, folder / name)
    finally:
        shutil.rmtree(raw, ignore_errors=True)


def _clean(path: Path, task: Task, table: Table) -> list[BadRow]:
    """Leave out the rows that cannot be read, and return them; line numbers are the archive's."""
    clean = path.with_name(path.name + ".clean")
    bad_rows, num_rows = [], 0
    with path.open("rb") as before, clean.open("wb") as after:
        if table.columns is None:
            after.write(before.readline().removeprefix(BOM))
        for line, row in read_rows(path, task, table):
            num_rows += 1
            if isinstance(row, BadRow):
                bad_rows.append(row)
            else:
                after.write(line + b"\n")
    if len(bad_rows) > MAX_BAD_SHARE * num_rows:
        first = f"{bad_rows[0].source}: {bad_rows[0].reason}"
        raise DataError(
            f"{task.name}: {len(bad_rows)} of {num_rows} rows of {path.name} cannot be used, the "
            f"first is {first}; give a folder with the data as --data_dir"
        )
    os.replace(clean, path)
    return bad_rows


def _split_mrpc(raw: Path) -> None:
    """Write the rows of the Microsoft Research Paraphrase Corpus in GLUE's split."""
    raw.mkdir(parents=True)
    with opened(fetch(MRPC_DEV_IDS), MRPC_DEV_IDS.sha256) as lines:
        ids = {tuple(line.split()) for line in lines}
    with (
        opened(fetch(MRPC_CORPUS), MRPC_CORPUS.sha256) as rows,
        (raw / "train.tsv").open("wb") as train,
        (raw / "dev.tsv").open("wb") as dev,
    ):
        header = next(rows, b"")
        train.write(header)
        dev.write(header)
        for row in rows:
            pair = tuple(row.split(b"\t")[1:3])
            (dev if pair in ids else train).write(row)
