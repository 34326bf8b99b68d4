"""One measurement: what a process computes, and what it answers."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[1]
Package = Literal["ours", "transformers", "onnxruntime", "paddlenlp"]
REFUSED = 3  # status of a worker whose machine or installation cannot do what was asked
MARK = "RESULT "  # begins the line of a worker's answer; libraries print lines of their own
# The samples that `prepare` writes, each a list of lists: of many languages, what is left of these
# without words that came before, and of SST-2.
TEXTS, NEW_WORDS, SENTENCES = "texts.json", "new_words.json", "sentences.json"
EXPORTED = "inference.onnx"  # in the folder of the weights
# What a shell may have set and would reach all sides, or one only.
SETTINGS = ("OMP_", "KMP_", "GOMP_", "MKL_", "MALLOC_", "GLIBC_TUNABLES", "FLAGS_", "PADDLE")


@dataclass(frozen=True)
class Batches:
    """Which batches a model is given.

    Attributes:
        kind: `full`: random ids without padding. The others are sentences of SST-2: `grouped`
            by length, `shuffled` and padded to the longest, or shuffled and `padded` to `length`.
        size: Rows of a batch.
        length: Tokens of a row; the most of them for SST-2.
        count: How many different batches.
        distinct: Ids of the vocabulary that occur in the data; 0 is all of them.
    """

    kind: Literal["full", "grouped", "shuffled", "padded"] = "full"
    size: int = 16
    length: int = 128
    count: int = 1
    distinct: int = 0

    @property
    def file_name(self) -> str:
        """Of the SST-2 batches that `prepare` writes."""
        return f"sst2-{self.kind}-{self.size}x{self.length}-{self.count}.json"


@dataclass(frozen=True)
class Job:
    """What one process measures.

    Attributes:
        work: Training steps, evaluation, the labels of single sentences, tokenization, matrix
            products, or how long a `command` takes.
        package: On which side.
        shape: Of the model, a key of `shapes.SHAPES`; of a tokenizer, its family.
        batches: What it is given.
        warmup: Steps before those that count.
        passes: How often all batches are measured; for each the median counts.
        tuned: Whether the process is tuned as our scripts tune theirs.
        dtype: Of the products of matrices; weights, states and sums are float32.
        all_positions: Whether our last layer computes also those that the head does not read.
        trimmed: Whether only the embedding rows that occur in the data are trained.
        kernels: Whether our kernels in C compute the encoder's layers.
        padded: Whether they compute padding, too.
        compiled: Whether `torch.compile` compiles the model of transformers.
        processes: That share each batch.
        pairs: Whether two texts are tokenized together.
        texts: Which texts are tokenized or labelled, a file of `prepare`.
        each: Whether each of them is tokenized in a call of its own.
        command: Arguments of Python, for the work `command`.
    """

    work: Literal["train", "evaluate", "label", "tokenize", "product", "command"] = "train"
    package: Package = "ours"
    shape: str = ""
    batches: Batches = field(default_factory=Batches)
    warmup: int = 1
    passes: int = 4
    tuned: bool = True
    dtype: Literal["float32", "bfloat16"] = "float32"
    all_positions: bool = False
    trimmed: bool = False
    kernels: bool = True
    padded: bool = False
    compiled: bool = False
    processes: int = 1
    pairs: bool = False
    texts: str = TEXTS
    each: bool = False
    command: tuple[str, ...] = ()

    @property
    def has_model(self) -> bool:
        """Whether it computes with a model."""
        return self.work in ("train", "evaluate", "label")

    @property
    def reads_texts(self) -> bool:
        """Whether it is given texts; anything else is given ids."""
        return self.work in ("tokenize", "label")

    @property
    def file_name(self) -> str:
        """Of what `prepare` writes for it besides weights; empty for nothing."""
        if self.reads_texts:
            return self.texts
        reads = self.has_model and self.batches.kind != "full"
        return self.batches.file_name if reads else ""

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        batches, command = Batches(**values.pop("batches")), tuple(values.pop("command"))
        return cls(**values, batches=batches, command=command)

    def to_json(self) -> str:
        """Write all fields, in one line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Outcome:
    """What a process answered.

    Attributes:
        passes: Seconds of each batch, for each pass over the batches.
        peak_mb: Most memory that the process held; 0 where it was not asked.
        rows: Examples of a pass; 0 where there are none.
        versions: Of what it computed with.
    """

    passes: list[list[float]]
    peak_mb: float = 0.0
    rows: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Time of one pass: the sum of each batch's median."""
        return float(sum(statistics.median(batch) for batch in zip(*self.passes, strict=True)))


class JobFailedError(Exception):
    """A process ended without an answer."""


class JobRefusedError(Exception):
    """The machine or the installation cannot do it."""


def run(job: Job, python: str, folder: Path) -> Outcome:
    """Run a job in a process of its own.

    Args:
        job: What to measure.
        python: Of the environment of its package.
        folder: With the prepared weights and batches.

    Raises:
        JobFailedError: With the end of what the process said.
        JobRefusedError: With what the machine lacks.
    """
    if job.work == "command":
        began = time.perf_counter()
        _call([python, *job.command])
        return Outcome([[time.perf_counter() - began]])
    said = _call([python, "-m", "benchmarks.worker", job.to_json(), str(folder)])
    answers = [line for line in said.splitlines() if line.startswith(MARK)]
    if not answers:
        raise JobFailedError(f"{job.package}: no answer in {said[-500:]!r}")
    return Outcome(**json.loads(answers[-1].removeprefix(MARK)))


def _call(command: Sequence[str]) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True)
    if done.returncode == REFUSED:
        raise JobRefusedError(done.stderr.strip().splitlines()[-1])
    if done.returncode:
        raise JobFailedError(f"{' '.join(command)[:200]}: {done.stderr[-1500:]}")
    return done.stdout


def environment() -> dict[str, Any]:
    """This process's environment without settings of threads, memory or libraries."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return kept | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
