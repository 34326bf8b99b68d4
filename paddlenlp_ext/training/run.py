"""The set-up of a run, whatever is trained, in the one order that it has.

`Run` chooses the device and seeds; entered, it locks the output folder and finds the checkpoint to
continue from. Its script then loads tokenizer, data and model, and `Run.prepare` does the rest: it
trims the vocabulary before the optimizer is built, casts the model before the checkpoint is
restored, and begins the report after that. The loop is the script's own:

    with Run(settings, must_match) as run:
        tokenizer, data, model = ...
        training = run.prepare(model, tokenizer, data, ...)
        for event in finetune(...):
            training.report.add(event)
            if training.is_checkpoint_due(event):
                training.save(f"model_{event.step}", event)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeVar

import paddle
from paddle.optimizer import Optimizer

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.models.auto import AutoModel
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.pretraining.reader import ShardReader
from paddlenlp_ext.pretraining.shard_set import ShardSet
from paddlenlp_ext.tasks.batches import Loader
from paddlenlp_ext.tasks.task import Task
from paddlenlp_ext.tasks.token_cache import TokenCache
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.checkpoint import Checkpoint, Checkpoints
from paddlenlp_ext.training.events import Evaluated, Event, Progress, StepDone
from paddlenlp_ext.training.identity import AFFECTS_RESULT, BATCH, LENGTH
from paddlenlp_ext.training.loaders import Batching, RunData, read_task
from paddlenlp_ext.training.loop import is_evaluation_due
from paddlenlp_ext.training.optimization import adamw, linear_schedule
from paddlenlp_ext.training.precision import mixed_precision
from paddlenlp_ext.training.pretrain import MakeTensors, ShardBatches
from paddlenlp_ext.training.report import LogEvaluation, LogStep, Report
from paddlenlp_ext.training.updates import UpdateSettings
from paddlenlp_ext.training.vocabulary_trimming import trim_vocabulary

AnyModel = TypeVar("AnyModel", bound=Model)

GPU_PADDING = 8  # lengths are rounded up to it: tensor cores compute in blocks of eight


def default_device() -> str:
    """A GPU or XPU if this PaddlePaddle is built for one and finds it, else the CPU."""
    if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count():
        return "gpu"
    return "xpu" if paddle.is_compiled_with_xpu() else "cpu"


def visible_gpus() -> int:
    """Count the GPUs that `CUDA_VISIBLE_DEVICES` names."""
    return sum(bool(name) for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","))


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a run is set up with; the names are those of the scripts' flags.

    Attributes:
        model_name_or_path: A preset, or a folder with a model.
        output_dir: Where checkpoints and results go.
        device: "cpu", "gpu", "xpu" or "npu", or one of several: "gpu:1".
        batch_size: Rows of a training batch on each process.
        learning_rate: The highest of the run.
        num_train_epochs: Passes over the data.
        max_steps: Updates of the run; above 0, it wins over the epochs.
        logging_steps: Updates between two log lines.
        save_steps: Updates between evaluations, or checkpoints where nothing is evaluated.
        max_seq_length: Longer texts are cut; 0 where the data have their length already.
        tokenizer_name: Where the vocabulary comes from, if not from the model's source.
        eval_batch_size: Rows of an evaluation batch on each process; as for training if absent.
        gradient_accumulation_steps: Batches of an update on each process.
        group_by_length: Whether rows of similar length make up an update.
        token_cache: Whether ids of large data are kept on disk for the next run.
        max_train_samples: Use the first rows only.
        max_eval_samples: The same, of each split that is evaluated.
        on_bad_row: Stop at a data row that cannot be used, or leave it out and say so.
        warmup_steps: Updates of the warm-up; above 0, it wins over the proportion.
        warmup_proportion: Part of all updates that are warm-up.
        weight_decay: For all parameters but biases and the weights of normalisations.
        adam_betas: Memory of AdamW for the mean of gradients and for that of their squares.
        adam_epsilon: Lower bound of AdamW's denominator.
        layerwise_decay: Factor of the learning rate from one encoder layer to the one below.
        max_grad_norm: Largest norm of all gradients together; 0 does not clip.
        use_amp: Whether to train in mixed precision.
        amp_level: "O1" casts chosen operations, "O2" the whole model.
        amp_dtype: What they are cast to.
        scale_loss: First loss scale, for float16.
        recompute: Whether activations are computed again in the backward pass, to save memory.
        trim_vocab: Whether only the word embeddings of tokens in the data are trained.
        on_non_finite: Stop when a loss is not finite, or skip that update.
        seed: Of data order, dropout and new weights.
        resume_from_checkpoint: "latest", or the folder or name of a checkpoint.
        keep_checkpoints: How many of the newest are kept, besides the best; 0 keeps all.
    """

    model_name_or_path: str
    output_dir: str
    device: str
    batch_size: int
    learning_rate: float
    num_train_epochs: int
    logging_steps: int
    save_steps: int
    max_steps: int = -1
    max_seq_length: int = 0
    tokenizer_name: str | None = None
    eval_batch_size: int | None = None
    gradient_accumulation_steps: int = 1
    group_by_length: bool = False
    token_cache: bool = True
    max_train_samples: int | None = None
    max_eval_samples: int | None = None
    on_bad_row: Literal["error", "skip"] = "error"
    warmup_steps: int = 0
    warmup_proportion: float = 0.0
    weight_decay: float = 0.0
    adam_betas: tuple[float, float] = (0.9, 0.999)
    adam_epsilon: float = 1e-8
    layerwise_decay: float = 1.0
    max_grad_norm: float = 1.0
    use_amp: bool = False
    amp_level: Literal["O1", "O2"] = "O1"
    amp_dtype: Literal["float16", "bfloat16"] = "float16"
    scale_loss: float = 2.0**15
    recompute: bool = False
    trim_vocab: bool = False
    on_non_finite: Literal["stop", "skip"] = "stop"
    seed: int = 42
    resume_from_checkpoint: str | None = None
    keep_checkpoints: int = 0

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any], **settings: Any) -> RunSettings:
        """Make them of a script's flags, of which those of other names are left out.

        Args:
            flags: Values by the names of the flags.
            settings: What the script decides otherwise, or names otherwise.
        """
        names = {field.name for field in fields(cls)}
        return cls(**{name: flags[name] for name in names & flags.keys()} | settings)

    @property
    def pad_to_multiple_of(self) -> int:
        """What lengths of batches are rounded up to."""
        return 1 if self.device.startswith("cpu") else GPU_PADDING

    def batching(self, tokenizer: Tokenizer) -> Batching:
        """Say how examples become batches; the processes have met by now."""
        return Batching(
            tokenizer,
            self.max_seq_length,
            self.batch_size,
            eval_batch_size=self.eval_batch_size,
            seed=self.seed,
            accumulate=self.gradient_accumulation_steps,
            group_by_length=self.group_by_length,
            pad_to_multiple_of=self.pad_to_multiple_of,
            cache=TokenCache.default() if self.token_cache else None,
        )

    def facts(self, task: str, *, max_length: int = 0, trained: bool = True) -> dict[str, Any]:
        """Collect what all results of a run depend on, for `results.signature`.

        Args:
            task: With its collection: "glue/SST-2".
            max_length: Most tokens of a row, if it is the data's and not a setting.
            trained: Whether the results are those of training, or of a model that was there.
        """
        processes = distributed.world_size()
        facts = {
            "model": self.model_name_or_path,
            "task": task,
            "max_length": max_length or self.max_seq_length,
            "device": self.device,
            "processes": processes,
        }
        if not trained:
            return facts
        by_steps = self.max_steps > 0
        return {
            **facts,
            **({"steps": self.max_steps} if by_steps else {"epochs": self.num_train_epochs}),
            "batch_size": self.batch_size * self.gradient_accumulation_steps * processes,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
        }


class _Opened(NamedTuple):
    """What a run knows since its folder is locked."""

    checkpoints: Checkpoints
    resumed: Checkpoint | None
    source: Source
    vocabulary: Source


class Run:
    """A run of training.

    Making it chooses the device, joins the other processes and seeds. Its `with` block holds the
    lock of the output folder.

    Args:
        settings: What it is set up with.
        must_match: What a resumed run must have in common besides the settings that every run has:
            values by the names of the script's flags.
        data: Digest of the training data, if it is known before they are read.

    Raises:
        DeviceError: The device is not there.
    """

    def __init__(
        self, settings: RunSettings, must_match: Mapping[str, Any], *, data: str = ""
    ) -> None:
        distributed.start(settings.device)
        distributed.seed_everything(settings.seed)
        self.settings = settings
        self._identity = {
            name: getattr(settings, name) for name in (*AFFECTS_RESULT, *BATCH, *LENGTH)
        }
        self._identity |= must_match
        self._data = data
        self._opened: _Opened | None = None

    def __enter__(self) -> Run:
        """Lock the output folder, and find the checkpoint to continue from.

        Raises:
            UserError: Another run uses the folder, the checkpoint is damaged or another run's, or
                there is no such model.
        """
        settings = self.settings
        checkpoints = Checkpoints(
            settings.output_dir, self._identity, data=self._data, keep=settings.keep_checkpoints
        )
        try:
            found = checkpoints.find(settings.resume_from_checkpoint)
            named = os.path.expanduser(settings.model_name_or_path)
            source = resolve(found.folder if found else named)
            own = None if found else settings.tokenizer_name
            self._opened = _Opened(checkpoints, found, source, resolve(own) if own else source)
        except BaseException:
            checkpoints.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let another run use the output folder."""
        self._in_block.checkpoints.close()

    @property
    def _in_block(self) -> _Opened:
        assert self._opened is not None, "a run is prepared in its `with` block"
        return self._opened

    @property
    def resumed(self) -> Checkpoint | None:
        """The checkpoint that the run continues from."""
        return self._in_block.resumed

    @property
    def source(self) -> Source:
        """Where the model comes from: the checkpoint, or what the settings name."""
        return self._in_block.source

    @property
    def vocabulary(self) -> Source:
        """Where the tokenizer comes from: its own source if the settings name one."""
        return self._in_block.vocabulary

    def load_classifier(self, cls: type[Model] | type[AutoModel], task: Task) -> Model:
        """Load a model with a head of as many outputs as a task has labels, called as they are."""
        names = dict(enumerate(task.labels or ())) or None
        return cls.from_pretrained(self.source, num_labels=task.num_labels, id2label=names)

    def begin_model(self, cls: type[AnyModel], *, from_scratch: bool, **config: Any) -> AnyModel:
        """Load the model of pretraining, or begin one with new weights.

        Args:
            cls: Its class.
            from_scratch: Whether a folder gives its shape only, as a preset always does.
            config: Fields of the config of a new model.
        """
        is_preset = self.source.preset is not None and self.source.name in cls.presets
        if self.resumed is None and (from_scratch or is_preset):
            return cls(cls.read_config(self.source).replace(**config))
        return cls.from_pretrained(self.source)

    def read_task(
        self, task: Task, tokenizer: Tokenizer, data_dir: str | Path | None
    ) -> RunData[Loader]:
        """Read and tokenize all splits of a task, of which the first is trained on.

        Args:
            task: Its files are read.
            tokenizer: Makes ids of their texts.
            data_dir: Where they are; None downloads the official ones on the first use.

        Raises:
            DataError: A file is missing or holds rows that cannot be used.
        """
        splits = read_task(
            task,
            data_dir,
            max_train_samples=self.settings.max_train_samples,
            max_eval_samples=self.settings.max_eval_samples,
            on_bad_row=self.settings.on_bad_row,
        )
        first, *others = splits
        batching = self.settings.batching(tokenizer)
        return batching.data(splits[first], {split: splits[split] for split in others})

    def read_shards(self, shards: Mapping[str, ShardSet], make: MakeTensors) -> RunData[Any]:
        """Make batches of shards, of which those called "train" are trained on.

        Args:
            shards: By the name of the split.
            make: Makes tensors of rows.
        """
        settings = self.settings
        sizes = {"train": settings.batch_size}
        batches = {
            split: ShardBatches(
                ShardReader(data, seed=settings.seed, shuffle=split == "train"),
                make,
                sizes.get(split, settings.eval_batch_size or settings.batch_size),
                distributed.rank(),
                distributed.world_size(),
            )
            for split, data in shards.items()
        }
        train = batches.pop("train")
        return RunData(train, batches, shards["train"].sources, shards["train"].widths["tokens"])

    def prepare(
        self,
        model: Model,
        tokenizer: Tokenizer,
        data: RunData[Any],
        *,
        task: str,
        log_step: LogStep,
        log_evaluation: LogEvaluation,
    ) -> Training:
        """Prepare all that a training loop needs, and bring it to where the run was.

        Args:
            model: As it was loaded.
            tokenizer: Its own.
            data: What it is trained and evaluated on.
            task: For the results, with its collection: "glue/SST-2".
            log_step: The script's line of an update.
            log_evaluation: The script's text of an evaluated split.

        Raises:
            UserError: The run that is continued had other data or another length, or a setting
                cannot be.
            DeviceError: Mixed precision is asked for where there is none.
            WeightsError: The checkpoint is that of another model.
        """
        settings, checkpoints, found = self.settings, self._in_block.checkpoints, self.resumed
        accumulate = settings.gradient_accumulation_steps
        total_steps = checkpoints.settle(data.digest, -(-len(data.train) // accumulate))
        if settings.trim_vocab:
            if settings.use_amp and settings.amp_level == "O2":
                raise UserError(
                    "`trim_vocab`: keeps float32 tables, and `amp_level` O2 casts them; give "
                    "`amp_level` O1"
                )
            loaders: list[Loader] = [data.train, *data.evaluate_on.values()]
            trim_vocabulary(model, tokenizer, loaders, Path(settings.output_dir))
        optimizer = adamw(
            model,
            linear_schedule(
                settings.learning_rate,
                total_steps,
                warmup_steps=settings.warmup_steps,
                warmup_proportion=settings.warmup_proportion,
            ),
            weight_decay=settings.weight_decay,
            beta1=settings.adam_betas[0],
            beta2=settings.adam_betas[1],
            epsilon=settings.adam_epsilon,
            max_grad_norm=settings.max_grad_norm,
            layerwise_decay=settings.layerwise_decay,
        )
        if settings.recompute:
            model.enable_recompute()
        precision = None
        if settings.use_amp:
            precision = mixed_precision(
                model,
                optimizer,
                level=settings.amp_level,
                dtype=settings.amp_dtype,
                scale_loss=settings.scale_loss,
            )
        progress = found.restore(model, optimizer, precision) if found else None
        report = Report(
            settings.output_dir,
            log_step=log_step,
            log_evaluation=log_evaluation,
            logging_steps=settings.logging_steps,
            splits=len(data.evaluate_on),
            total_steps=total_steps,
            facts=settings.facts(task, max_length=data.max_length),
            resume=progress,
        )
        updates = UpdateSettings(
            accumulate=accumulate,
            precision=precision,
            seed=settings.seed,
            on_non_finite=settings.on_non_finite,
            sources=data.sources,
        )
        return Training(
            model, tokenizer, optimizer, total_steps, settings.save_steps, updates, progress,
            report, checkpoints,
        )  # fmt: skip


@dataclass(frozen=True)
class Training:
    """What a training loop is given, and what becomes of its events.

    Attributes:
        model: Trimmed and cast.
        tokenizer: Saved with it.
        optimizer: Of the model.
        total_steps: Updates of the whole run.
        save_steps: Updates between evaluations, or checkpoints.
        updates: How updates are made.
        progress: Where the run continues; None at its beginning.
        report: Prints and keeps what happens.
        checkpoints: Of the output folder.
    """

    model: Model
    tokenizer: Tokenizer
    optimizer: Optimizer
    total_steps: int
    save_steps: int
    updates: UpdateSettings
    progress: Progress | None
    report: Report
    checkpoints: Checkpoints

    def is_checkpoint_due(self, event: Event) -> bool:
        """Whether to save now: after a step's evaluation, and when the run is interrupted.

        Without a split to evaluate on, after the steps at which there would be an evaluation.
        """
        if isinstance(event, Evaluated):
            return self.report.is_complete(event)
        if isinstance(event, StepDone):
            without = not self.report.splits
            return without and is_evaluation_due(event.step, self.save_steps, self.total_steps)
        return True

    def save(self, name: str, event: Event, *, best_to: str | Path | None = None) -> Path:
        """Save a checkpoint; its score is that of the step's own evaluation, if it is complete.

        Args:
            name: Of the checkpoint's folder.
            event: After which it is saved.
            best_to: A folder that gets the model too if it is the best so far.

        Returns:
            The checkpoint's folder.

        Raises:
            UserError: It cannot be written; earlier checkpoints are as they were.
        """

        def write(folder: Path) -> None:
            folders = [folder]
            if best_to is not None and self.report.is_best(event.step):
                folders.append(Path(best_to))
            for one in folders:
                self.model.save_pretrained(one)
                self.tokenizer.save_pretrained(one)

        return self.checkpoints.save(
            name,
            event.progress,
            self.model,
            self.optimizer,
            write=write,
            precision=self.updates.precision,
            score=self.report.score(event.step),
        )
