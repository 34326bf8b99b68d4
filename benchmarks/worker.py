"""The process that measures: tune it, import a side, measure there, and answer.

    python -m benchmarks.worker JOB FOLDER

Frameworks are imported only after tuning, because they read its settings when they are loaded.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks import inputs
from benchmarks.jobs import MARK, REFUSED, Job, Outcome, Package
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process import runtime

Arrays = dict[str, npt.NDArray[np.int64]]

SIDES: dict[Package, str] = {
    "ours": "benchmarks.ours",
    "transformers": "benchmarks.transformers_side",
    "onnxruntime": "benchmarks.onnxruntime_side",
    "paddlenlp": "benchmarks.paddlenlp_side",
}
EACH = 1000  # texts, one a call
LABELLED = 100  # sentences, one a call
# The feed-forward product of BERT-base on 2,048 tokens.
PRODUCT = (2048, 768, 3072)


def main() -> None:
    """Measure the job of the command line and print the answer."""
    job = Job.from_json(sys.argv[1])
    if job.tuned:
        runtime.tune()
    side = import_module(SIDES[job.package])
    try:
        outcome = side.measure(job, Path(sys.argv[2]))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(REFUSED)
    if outcome is not None:
        answer(outcome)


def answer(outcome: Outcome) -> None:
    """Print a line that `jobs.run` finds."""
    print(f"\n{MARK}{json.dumps(asdict(outcome))}", flush=True)


def timed(step: Callable[[], object]) -> float:
    """Seconds that a step takes."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def time_steps(steps: Sequence[Callable[[], object]], job: Job) -> list[list[float]]:
    """Take the first step as warm-up, then all steps in turn, pass by pass.

    `torch.compile` meets all lengths before.
    """
    for step in [steps[0]] * job.warmup + [*(steps if job.compiled else ())]:
        step()
    return [[timed(step) for step in steps] for _ in range(job.passes)]


def time_batches(
    take: Callable[[Arrays, npt.NDArray[np.int64]], object],
    job: Job,
    folder: Path,
    *,
    vocabulary: int,
    pad_token_id: int,
    has_types: bool,
) -> Outcome:
    """Time a call for each batch, from its rows on.

    Args:
        take: Called with what a model reads, int64 [B, L] each, and with the labels, int64 [B].
        job: Its batches, and how often they are measured.
        folder: With what `prepare` wrote.
        vocabulary: Rows of the model's word table.
        pad_token_id: What rows are filled up with.
        has_types: Whether the model takes token types.
    """
    given = inputs.load(job.batches, vocabulary, folder)

    def step(number: int) -> None:
        arrays = inputs.collate(given.batches[number], pad_token_id, given.pad_to)
        if has_types:
            arrays["token_type_ids"] = np.zeros_like(arrays["input_ids"])
        take(arrays, given.labels(number))

    steps = [partial(step, number) for number in range(len(given.batches))]
    return Outcome(time_steps(steps, job), peak_mb(), given.rows)


def time_sentences(label: Callable[[str], object], job: Job, folder: Path) -> Outcome:
    """Time a call for each of some sentences, from the text to the name of its label."""
    texts = inputs.read(folder / job.file_name)["rows"][0][:LABELLED]
    passes = time_steps([partial(label, text) for text in texts], job)
    return Outcome(passes, peak_mb(), len(texts))


def time_tokenizer(tokenizer: Callable[..., object], job: Job, folder: Path) -> Outcome:
    """Time calls of a tokenizer, each on texts that are new to it."""
    samples = inputs.read(folder / job.file_name)["rows"]
    half = len(samples[0]) // 2

    def tokenize(sample: list[str]) -> None:
        calls = sample[:EACH] if job.each else [sample]
        for texts in calls:
            both = (sample[:half], sample[half : 2 * half]) if job.pairs else (texts,)
            tokenizer(*both, truncation=True, max_length=128)

    passes = [[timed(partial(tokenize, sample))] for sample in samples[: job.warmup + job.passes]]
    rows = half if job.pairs else len(samples[0][:EACH] if job.each else samples[0])
    return Outcome(passes[job.warmup :], peak_mb(), rows)


def time_product(multiply: Callable[[], object], job: Job) -> Outcome:
    """Time a product of matrices; the fastest of each ten is the rate that the machine reaches."""
    for _ in range(10):
        multiply()
    best = [[min(timed(multiply) for _ in range(10))] for _ in range(job.passes)]
    return Outcome(best)


def product_operands() -> list[np.ndarray]:
    """Two matrices of `PRODUCT`; float32 [M, K] and [K, N]."""
    random = np.random.default_rng(0)
    m, k, n = PRODUCT
    return [random.standard_normal(shape, np.float32) for shape in ((m, k), (k, n))]


def peak_mb() -> float:
    """Most memory that this process has held.

    `getrusage` alone would also count what the process that started this one held.
    """
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def versions(*packages: str) -> dict[str, str]:
    """Installed versions, and Python's."""
    python = ".".join(map(str, sys.version_info[:3]))
    return {"Python": python, **{name: version(name) for name in packages}}


if __name__ == "__main__":
    main()
