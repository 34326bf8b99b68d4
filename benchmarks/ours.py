"""Our side: the training loop and the evaluation of the package, as its scripts call them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import worker
from benchmarks.inputs import Inputs, load, occurring_ids
from benchmarks.jobs import Job, Outcome
from paddlenlp_ext.cli import program
from paddlenlp_ext.process import runtime

if TYPE_CHECKING:
    from paddlenlp_ext.models.base import Model
    from paddlenlp_ext.tasks.batches import Loader
    from paddlenlp_ext.training.precision import MixedPrecision

PACKAGES = ("paddlenlp-ext", "paddlepaddle")


@dataclass(frozen=True)
class GivenOrder:
    """Batches in a given order; a rank takes its part of each."""

    batches: list[np.ndarray]
    rank: int = 0
    world_size: int = 1

    def __len__(self) -> int:
        return len(self.batches)

    def rows(self, epoch: int = 0, start: int = 0) -> Iterator[np.ndarray]:
        """Yield the rows of each batch."""
        for batch in self.batches[start:]:
            yield np.array_split(batch, self.world_size)[self.rank]


def loader(inputs: Inputs, numbers: list[int], pad_token_id: int, *, has_types: bool) -> Loader:
    """Make a loader of batches by their numbers, which may repeat."""
    from paddlenlp_ext.tasks.batches import Loader
    from paddlenlp_ext.tasks.features import Features
    from paddlenlp_ext.training import distributed

    features: list[Features] = []
    rows: dict[int, np.ndarray] = {}
    for number in dict.fromkeys(numbers):
        batch = inputs.batches[number]
        rows[number] = np.arange(len(features), len(features) + len(batch))
        for ids, label in zip(batch, inputs.labels(number), strict=True):
            features.append(Features(ids, np.zeros_like(ids) if has_types else None, int(label)))
    order = GivenOrder(
        [rows[number] for number in numbers], distributed.rank(), distributed.world_size()
    )
    return Loader(features, order, pad_token_id=pad_token_id, pad_to_multiple_of=inputs.pad_to or 1)


def load_model(job: Job, folder: Path) -> Model:
    """Load the prepared weights, and trim the word embeddings if asked to."""
    from paddlenlp_ext.models.auto import AutoModelForSequenceClassification
    from paddlenlp_ext.nn.cpu import stack

    model = AutoModelForSequenceClassification.from_pretrained(folder / job.shape)
    model.compute_unread(job.all_positions)
    if not job.kernels:
        model.compile_layers(False)
    if job.padded:
        stack.pack = lambda *_: None
    if job.trimmed:
        trim(model, occurring_ids(job.batches, model.config.vocab_size), folder)
    return model


def precision_of(job: Job, model: Model, optimizer: Any = None) -> MixedPrecision | None:
    """Choose mixed precision as the scripts do; none for float32."""
    from paddlenlp_ext.training.precision import mixed_precision

    return None if job.dtype == "float32" else mixed_precision(model, optimizer, dtype=job.dtype)


def trim(model: Model, ids: np.ndarray, folder: Path) -> None:
    """Trim the word embeddings as for data in which these ids occur."""
    from paddlenlp_ext.training.vocabulary_trimming import trim_vocabulary

    trim_vocabulary(model, np.union1d(ids, [model.config.pad_token_id]), folder)


def loader_options(model: Model) -> dict[str, Any]:
    """What the batches of a model need."""
    config = model.config
    return {
        "pad_token_id": config.pad_token_id,
        "has_types": bool(getattr(config, "type_vocab_size", 0)),
    }


def train(job: Job, folder: Path) -> Outcome:
    """Time updates of `finetune`."""
    from paddlenlp_ext.metrics import accuracy
    from paddlenlp_ext.training.events import StepDone
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.losses import cross_entropy
    from paddlenlp_ext.training.optimization import adamw, rate_schedule
    from paddlenlp_ext.training.updates import UpdateSettings

    model = load_model(job, folder)
    inputs = load(job.batches, model.config.vocab_size, folder)
    count = len(inputs.batches)
    numbers = [0] * job.warmup + list(range(count)) * job.passes
    data = loader(inputs, numbers, **loader_options(model))
    schedule = rate_schedule(5e-5, 10 * len(numbers), warmup_proportion=0.1)
    optimizer = adamw(model, schedule, weight_decay=0.01, max_grad_norm=1.0)
    events = finetune(
        model,
        data,
        evaluate_on={},
        loss=cross_entropy,
        metric=accuracy,
        optimizer=optimizer,
        max_steps=len(numbers),
        settings=UpdateSettings(precision=precision_of(job, model, optimizer)),
    )
    seconds = [event.seconds for event in events if isinstance(event, StepDone)][job.warmup :]
    passes = [seconds[start : start + count] for start in range(0, len(seconds), count)]
    return Outcome(passes, worker.peak_mb(), inputs.rows, worker.versions(*PACKAGES))


def evaluate(job: Job, folder: Path) -> Outcome:
    """Time `evaluate` on all batches together."""
    from paddlenlp_ext.metrics import accuracy
    from paddlenlp_ext.training.finetune import evaluate as evaluate_on
    from paddlenlp_ext.training.losses import cross_entropy

    model = load_model(job, folder)
    inputs = load(job.batches, model.config.vocab_size, folder)
    options, precision = loader_options(model), precision_of(job, model)

    def seconds(numbers: list[int]) -> float:
        data = loader(inputs, numbers, **options)
        found = evaluate_on(model, data, loss=cross_entropy, metric=accuracy, precision=precision)
        return found.seconds

    for _ in range(job.warmup):
        seconds([0])
    passes = [[seconds(list(range(len(inputs.batches))))] for _ in range(job.passes)]
    return Outcome(passes, worker.peak_mb(), inputs.rows, worker.versions(*PACKAGES))


def label(job: Job, folder: Path) -> Outcome:
    """Time answers of a pipeline to one sentence a call."""
    from paddlenlp_ext.inference.pipelines import pipeline
    from paddlenlp_ext.tokenizers.bert import BertTokenizer

    model = load_model(job, folder)
    classify = pipeline(
        "text-classification",
        model,
        tokenizer=BertTokenizer(folder / "bert/vocab.txt"),
        amp_dtype=None if job.dtype == "float32" else job.dtype,
        max_length=128,
    )
    outcome = worker.time_sentences(classify, job, folder)
    return replace(outcome, versions=worker.versions(*PACKAGES))


def tokenize(job: Job, folder: Path) -> Outcome:
    """Time calls of a tokenizer."""
    from paddlenlp_ext.tokenizers.bert import BertTokenizer
    from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
    from paddlenlp_ext.tokenizers.rembert import RemBertTokenizer, RemBertTokenizerFast
    from paddlenlp_ext.tokenizers.xlm_r import XLMRobertaTokenizer

    model = folder / "multilingual/sentencepiece.model"
    tokenizers: dict[str, Callable[[], Any]] = {
        "bert": lambda: BertTokenizer(folder / "bert/vocab.txt"),
        "rembert": lambda: RemBertTokenizer(model),
        "rembert_fast": lambda: RemBertTokenizerFast(model),
        "ernie_m": lambda: ErnieMTokenizer(folder / "multilingual/vocab.txt", model),
        "xlm_r": lambda: XLMRobertaTokenizer(model),
    }
    outcome = worker.time_tokenizer(tokenizers[job.shape](), job, folder)
    versions = worker.versions("paddlenlp-ext", "tokenizers", "sentencepiece")
    return replace(outcome, versions=versions)


def product(job: Job, folder: Path) -> Outcome:
    """Time a product of matrices: that of the compiled layers, or Paddle's."""
    import paddle

    from paddlenlp_ext.nn.cpu import onednn

    left, right = (paddle.to_tensor(one).astype(job.dtype) for one in worker.product_operands())
    multiply = onednn.product if job.kernels else paddle.matmul
    return worker.time_product(lambda: multiply(left, right), job)


WORKS = {
    "train": train,
    "evaluate": evaluate,
    "label": label,
    "tokenize": tokenize,
    "product": product,
}


def measure(job: Job, folder: Path) -> Outcome | None:
    """Measure a job in this process, or in several, of which the first answers."""
    if job.work != "tokenize":
        runtime.import_paddle()
    if job.processes > 1:
        program.spawn(take_part, job.processes, job, folder, device="cpu")
        return None
    return WORKS[job.work](job, folder)


def take_part(job: Job, folder: Path) -> None:
    """Measure a job as one of several processes."""
    from paddlenlp_ext.training import distributed

    distributed.start("cpu")
    outcome = WORKS[job.work](job, folder)
    if distributed.rank() == 0:
        worker.answer(outcome)
