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

from benchmarks import inputs
from benchmarks.jobs import MARK, Job, Outcome, Package
from paddlenlp_ext.process import runtime

SIDES: dict[Package, str] = {
    "ours": "benchmarks.ours",
    "transformers": "benchmarks.transformers_side",
    "paddlenlp": "benchmarks.paddlenlp_side",
}
EACH = 1000  # texts, one a call
# The feed-forward product of BERT-base on 2,048 tokens.
PRODUCT = (2048, 768, 3072)


def main() -> None:
    """Measure the job of the command line and print the answer."""
    job = Job.from_json(sys.argv[1])
    if job.tuned:
        runtime.tune()
    side = import_module(SIDES[job.package])
    if (outcome := side.measure(job, Path(sys.argv[2]))) is not None:
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
    """Take the first step as warm-up, then all steps in turn, pass by pass."""
    for _ in range(job.warmup):
        steps[0]()
    return [[timed(step) for step in steps] for _ in range(job.passes)]


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
