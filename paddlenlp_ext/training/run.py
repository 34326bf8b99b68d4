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

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from paddle.optimizer import Optimizer

from paddlenlp_ext.errors import UserError, shown
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.models.auto import AutoConfig, AutoModel
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.nn.embeddings import Embeddings
from paddlenlp_ext.pretraining.reader import ShardReader
from paddlenlp_ext.pretraining.shard_set import ShardSet
from paddlenlp_ext.reporting.lines import HISTORY, read_evaluations
from paddlenlp_ext.reporting.scores import by_step, is_stale, spelled
from paddlenlp_ext.tasks.batches import Loader
from paddlenlp_ext.tasks.download import official_folder
from paddlenlp_ext.tasks.label_orders import is_unnamed, label_order, numbers_by_name
from paddlenlp_ext.tasks.own import OwnData
from paddlenlp_ext.tasks.rows import Examples, read_examples
from paddlenlp_ext.tasks.task import Task
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.card import Card, write_card
from paddlenlp_ext.training.checkpoint import Checkpoint, Checkpoints
from paddlenlp_ext.training.class_weights import choose_emphasis
from paddlenlp_ext.training.events import Evaluated, Event, Progress, StepDone
from paddlenlp_ext.training.freezing import freeze
from paddlenlp_ext.training.identity import AFFECTS_RESULT, BATCH, LENGTH
from paddlenlp_ext.training.loaders import Batching, RunData, digest, report_skipped_rows
from paddlenlp_ext.training.loggers import Loggers, require
from paddlenlp_ext.training.loop import is_evaluation_due
from paddlenlp_ext.training.optimization import adamw, learning_rate_of, rate_schedule, schedule_of
from paddlenlp_ext.training.precision import mixed_precision
from paddlenlp_ext.training.pretrain import MakeTensors, ShardBatches
from paddlenlp_ext.training.programs import make_static
from paddlenlp_ext.training.record import Record, descriptions, machine
from paddlenlp_ext.training.report import LogEvaluation, LogStep, Report, say
from paddlenlp_ext.training.results import has_results, signature
from paddlenlp_ext.training.settings import RunSettings
from paddlenlp_ext.training.summary import outcome, plan, tell
from paddlenlp_ext.training.updates import UpdateSettings
from paddlenlp_ext.training.vocabulary_trimming import Words, trim_vocabulary, words_of_texts

AnyModel = TypeVar("AnyModel", bound=Model)

logger = logging.getLogger(__name__)

SEVERAL_LABELS = "multi_label_classification"  # `problem_type` of a config


class Run:
    """A run of training.

    Making it chooses the device, joins the other processes and seeds. Its `with` block holds the
    lock of the output folder.

    Args:
        settings: What it is set up with.
        must_match: What a resumed run must have in common besides the settings that every run has:
            values by the names of the script's flags.
        data: Digest of the training data, if it is known before they are read.

    Attributes:
        checkpoints: Of the output folder; this and the rest is known in the `with` block.
        resumed: The checkpoint that the run continues from.
        source: Where the model comes from: the checkpoint, or what the settings name.
        vocabulary: Where the tokenizer comes from: its own source if the settings name one.
        task: Whose labels the training rows are numbered by, where a classifier is trained.

    Raises:
        DeviceError: The device is not there.
        UserError: A logger is not.
    """

    checkpoints: Checkpoints
    resumed: Checkpoint | None
    source: Source
    vocabulary: Source

    def __init__(
        self, settings: RunSettings, must_match: Mapping[str, Any], *, data: str = ""
    ) -> None:
        require(settings.report_to)
        distributed.start(settings.device, deterministic=settings.deterministic)
        distributed.seed_everything(settings.seed)
        self.settings = settings
        self._identity = {
            name: getattr(settings, name) for name in (*AFFECTS_RESULT, *BATCH, *LENGTH)
        }
        self._identity |= must_match
        self.task: Task | None = None
        self._data = data
        self._training: Training | None = None

    def __enter__(self) -> Run:
        """Lock the output folder, and find the checkpoint to continue from.

        Raises:
            UserError: Another run uses the folder, the checkpoint is damaged or another run's, or
                there is no such model.
        """
        settings = self.settings
        self.checkpoints = Checkpoints(
            settings.output_dir, self._identity, data=self._data, keep=settings.keep_checkpoints
        )
        try:
            self.resumed = found = self.checkpoints.find(settings.resume_from_checkpoint)
            named = os.path.expanduser(settings.model_name_or_path)
            self.source = resolve(found.folder if found else named)
            own = None if found else settings.tokenizer_name
            self.vocabulary = resolve(own) if own else self.source
        except BaseException:
            self.checkpoints.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say what came of the run, unless it failed; let another one use the output folder."""
        if done := self._training:
            done.report.close(failed=kind is not None)
            if done.report.record is not None:
                done.report.record.end(error)
            if kind is None and distributed.rank() == 0:
                ends_with_best = done.ends_with_best
                tell(
                    outcome(
                        self.checkpoints, done.report, done.model, ends_with_best=ends_with_best
                    )
                )
            self._training = None  # what follows needs the memory
        self.checkpoints.close()

    def batching(self, tokenizer: Tokenizer) -> Batching:
        """Say how examples become batches."""
        return Batching(self.settings, tokenizer)

    def load_classifier(self, cls: type[Model] | type[AutoModel], task: Task) -> Model:
        """Load a model with a head of as many outputs as a task has labels.

        A trained model keeps the order that its config has them in, which `losses.judge` heeds; any
        other gets the task's.
        """
        self.task = task
        read_config = cls.read_config if issubclass(cls, Model) else AutoConfig.from_pretrained
        known = read_config(self.source)
        names = self._names_of_labels(task, known.label_names)
        changes: dict[str, Any] = {"id2label": dict(enumerate(names)) or None}
        if task.is_multi_label or known.problem_type == SEVERAL_LABELS:
            of_one = "regression" if task.labels is None else "single_label_classification"
            changes["problem_type"] = SEVERAL_LABELS if task.is_multi_label else of_one
        return cls.from_pretrained(self.source, num_labels=task.num_labels, **changes)

    def _names_of_labels(self, task: Task, known: Sequence[str]) -> Sequence[str]:
        """Name the labels of a model, in its order, as it does where that says anything."""
        labels = task.labels or ()
        if len(known) != len(labels) or is_unnamed(known):
            return labels
        numbers = numbers_by_name(task, known)
        lacking = [label for label, number in zip(labels, numbers, strict=True) if number is None]
        names = list(known)
        for number, label in zip(sorted({*range(len(names))} - {*numbers}), lacking, strict=True):
            names[number] = label
        if lacking and distributed.rank() == 0:
            logger.warning(
                "%s has other labels (%s) than %s (%s): its classifier is trained on as %s",
                *(self.source, shown(known), task.name, ", ".join(labels), ", ".join(names)),
            )
        elif numbers != [*range(len(names))]:
            say(
                f"note: {self.source} has the labels in another order ({', '.join(names)}); it is "
                "trained and evaluated by that\n"
            )
        return names

    def begin_model(
        self,
        cls: type[AnyModel],
        *,
        from_scratch: bool,
        head: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> AnyModel:
        """Load the model of pretraining, or begin one with new weights.

        Args:
            cls: Its class.
            from_scratch: Whether a folder gives its shape only, as a preset always does.
            head: Fields of the config that a checkpoint's head may be replaced for.
            config: Fields of the config of a new model.
        """
        head = head or {}
        is_preset = self.source.preset is not None and self.source.name in cls.presets
        if self.resumed is None and (from_scratch or is_preset):
            return cls(cls.read_config(self.source).replace(**config, **head))
        return cls.from_pretrained(self.source, **(head if self.resumed is None else {}))

    def read_task(
        self, task: Task | OwnData, tokenizer: Tokenizer, data_dir: str | Path | None
    ) -> RunData[Loader]:
        """Read all splits of a task, of which the first is trained on; then tokenize them.

        Args:
            task: Its files are read; a user's own have been.
            tokenizer: Makes ids of their texts.
            data_dir: Folder of the files, or the one above it; None downloads the official ones on
                the first use.

        Raises:
            DataError: A file is missing or holds rows that cannot be used.
        """
        settings = self.settings
        found: dict[str, Examples] = {}
        if isinstance(task, OwnData):
            found = {split: task.splits[split] for split in task.task.splits if split != "test"}
        else:
            folder = data_dir or official_folder(task)
            for split in task.splits:
                found[split] = read_examples(task, split, folder, on_bad_row=settings.on_bad_row)
                report_skipped_rows(found[split].bad_rows)
        train, *others = found
        limits = {train: settings.max_train_samples}
        limits |= dict.fromkeys(others, settings.max_eval_samples)
        splits = {split: examples[: limits[split]] for split, examples in found.items()}
        return self.batching(tokenizer).data(splits.pop(train), splits)

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
        words: Words | None = None,
    ) -> Training:
        """Prepare all that a training loop needs, and bring it to where the run was.

        Args:
            model: As it was loaded.
            tokenizer: Its own.
            data: What it is trained and evaluated on.
            task: For the results, with its collection: "glue/SST-2".
            log_step: The script's line of an update.
            log_evaluation: The script's text of an evaluated split.
            words: Ids of the data for `trim_vocab`; None if `data` are batches of texts, which say
                it themselves.

        Raises:
            UserError: The run that is continued had other data or another length, or a setting
                cannot be.
            DeviceError: Mixed precision is asked for where there is none.
            WeightsError: The checkpoint is that of another model.
        """
        settings, checkpoints, found = self.settings, self.checkpoints, self.resumed
        require_positions(model, data.max_length, settings.pad_to_multiple_of)
        model.config.require_rows(len(tokenizer))
        if settings.early_stopping_patience and not data.evaluate_on:
            raise UserError("`early_stopping_patience`: there is nothing to evaluate on")
        emphasis = choose_emphasis(
            settings.label_smoothing_factor, settings.class_weights, self.task, data.train
        )
        accumulate = settings.gradient_accumulation_steps
        task_labels = (self.task and self.task.labels) or ()
        labels = task_labels, self.task is not None and self.task.is_multi_label
        steps_per_epoch = -(-len(data.train) // accumulate)
        total_steps = checkpoints.settle(data.digest, steps_per_epoch, labels)
        # What is reported after training depends on it, too.
        self.settings = settings = replace(settings, lengths=checkpoints.lengths)
        if settings.trim_vocab:
            if settings.use_amp and settings.amp_level == "O2":
                raise UserError(
                    "`trim_vocab`: keeps float32 tables, and `amp_level` O2 casts them; give "
                    "`amp_level` O1"
                )
            if words is None:
                loaders: list[Loader] = [data.train, *data.evaluate_on.values()]
                words = words_of_texts(model.config.vocab_size, tokenizer, loaders)
            trim_vocabulary(model, words, Path(settings.output_dir))
        freeze(model, embeddings=settings.freeze_embeddings, layers=settings.freeze_layers)
        optimizer = adamw(
            model,
            rate_schedule(
                settings.learning_rate,
                total_steps,
                kind=settings.lr_scheduler_type,
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
        decided = checkpoints.identity.settings
        model.compute_unread(not decided["skip_unread_positions"])
        model.compile_layers(decided["compiled_layers"] and settings.is_on_host)
        if settings.to_static:
            make_static(model, settings)
        precision = None
        if settings.use_amp:
            precision = mixed_precision(
                model,
                optimizer,
                level=settings.amp_level,
                dtype=decided["amp_dtype"],
                scale_loss=settings.scale_loss,
            )
            tell({"note": precision.compute.notice})
        restored = found.restore(model, optimizer, precision) if found else None
        progress = self._go_on_from(restored, [*data.evaluate_on], total_steps)
        if progress is not None and checkpoints.grown_from:
            _go_on(optimizer, progress.step, total_steps, settings.lr_scheduler_type)
        tell(plan(settings, task, model, data, total_steps, progress))
        facts = settings.facts(task, max_length=data.max_length)
        loggers = Loggers(
            settings.report_to,
            settings.output_dir,
            run=checkpoints.run,
            facts=facts,
            steps_per_epoch=steps_per_epoch,
        )
        report = Report(
            settings.output_dir,
            log_step=log_step,
            log_evaluation=log_evaluation,
            logging_steps=settings.logging_steps,
            splits=len(data.evaluate_on),
            total_steps=total_steps,
            facts=facts,
            resume=progress,
            metric=settings.metric_for_best_model,
            patience=settings.early_stopping_patience,
            loggers=loggers,
        )
        splits = {"train": data.train} | dict(data.evaluate_on)
        rows = {split: batches.num_rows for split, batches in splits.items()}
        card = Card(model, settings, task, facts, rows, total_steps)
        if distributed.rank() == 0:
            report.record = self._record(model, tokenizer, data, facts, total_steps, progress)
        updates = UpdateSettings(
            accumulate=accumulate,
            precision=precision,
            seed=settings.seed,
            on_non_finite=settings.on_non_finite,
            sources=data.sources,
            emphasis=emphasis,
            is_over=report.is_over,
        )
        distributed.barrier()  # what came before may have taken one longer than others
        distributed.share(model.parameters())
        self._training = Training(
            model, tokenizer, optimizer, total_steps, settings.save_steps, updates, progress,
            report, checkpoints, card, settings.load_best_model_at_end,
        )  # fmt: skip
        return self._training

    def _go_on_from(
        self, restored: Progress | None, splits: Sequence[str], total_steps: int
    ) -> Progress | None:
        """Begin an evaluation again unless it is whole, and of the last step has results, too."""
        if restored is None:
            return None
        folder, step, patience = (
            Path(self.settings.output_dir),
            restored.step,
            self.settings.early_stopping_patience,
        )
        is_over = step >= total_steps
        if patience and not is_over:
            rows = (row for row in read_evaluations(folder / HISTORY) if row["step"] <= step)
            metric = self.settings.metric_for_best_model
            is_over = is_stale(by_step(rows, len(splits)), metric and spelled(metric), patience)
        is_whole = restored.evaluations >= len(splits)
        is_whole = is_whole and not (is_over and not has_results(folder, splits, step))
        return restored if distributed.gather(is_whole)[0] else replace(restored, evaluations=0)

    def _record(
        self,
        model: Model,
        tokenizer: Tokenizer,
        data: RunData[Any],
        facts: Mapping[str, Any],
        total_steps: int,
        progress: Progress | None,
    ) -> Record:
        """Begin to keep what reports tell of this run."""
        settings, task, identity = self.settings, self.task, self.checkpoints.identity
        names: Sequence[str] = () if task is None else task.label_names or task.labels or ()
        order = label_order(task, model.config.label_names) if task and task.labels else None
        rows: dict[str, dict[str, Any]] = {"train": {"rows": data.train.num_rows}}
        rows["train"]["digest"] = identity.data
        for split, batches in data.evaluate_on.items():
            rows[split] = {"rows": batches.num_rows}
            if isinstance(batches, Loader):
                rows[split]["digest"] = digest(batches.features)
        return Record(
            Path(settings.output_dir),
            {
                "task": facts["task"],
                "signature": signature(split="train", metric="loss", **facts),
                "total_steps": total_steps,
                "ends_with": "best" if settings.load_best_model_at_end else "last",
                "settings": identity.settings,
                "data": rows,
                "model": {
                    "from": settings.model_name_or_path,
                    "class": type(model).__name__,
                    "parameters": sum(one.size for one in model.parameters()),
                },
                "machine": machine(settings.device),
            },
            resume=progress,
            labels=names,
            columns=None if order == tuple(range(len(names))) else order,
            describe=descriptions(data, tokenizer, has_texts=settings.error_texts),
            judge={
                split: partial(judge, has_texts=settings.error_texts)
                for split, judge in data.judge.items()
            },
        )


def _go_on(optimizer: Optimizer, step: int, total_steps: int, kind: str) -> None:
    """Let a run that was complete go on by the schedule of its new length, and say so."""
    schedule = schedule_of(optimizer)
    assert schedule is not None
    before = learning_rate_of(optimizer)
    schedule.step(step)
    rate = learning_rate_of(optimizer)
    if distributed.rank() == 0:
        print(
            f"the run was complete with {step} steps, and goes on to {total_steps}: its learning "
            f"rate goes on as in a {kind} schedule of {total_steps} steps, at {rate:.10f}"
            + f" after {before:.10f}"
            * (rate != before),
            file=sys.stderr,
            flush=True,
        )


def require_positions(model: Model, max_length: int, multiple: int) -> None:
    """Refuse rows that a model has no positions for, padded as they are.

    Raises:
        UserError: They may be longer than the model reads.
    """
    padded = -(-max_length // multiple) * multiple
    for layer in model.sublayers():
        if isinstance(layer, Embeddings) and padded > layer.max_length:
            most = layer.max_length // multiple * multiple
            raise UserError(
                f"`max_seq_length` {max_length}: the model has {layer.max_length} positions; give "
                f"at most {most}, or shards of such rows"
            )


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
        card: What is written beside each model.
        ends_with_best: Whether the run ends with its best model, or with its last.
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
    card: Card
    ends_with_best: bool = True

    def is_checkpoint_due(self, event: Event) -> bool:
        """Whether to save now: after a step's evaluation, and when the run is interrupted.

        A model of which a number is not finite takes no checkpoint's place. Without a split to
        evaluate on, after the steps at which there would be an evaluation.
        """
        if isinstance(event, Evaluated):
            return self.report.is_complete(event) and self.report.is_finite(event.step)
        if isinstance(event, StepDone):
            without = not self.report.splits
            return without and is_evaluation_due(event.step, self.save_steps, self.total_steps)
        return True

    def save(self, name: str, event: Event, *, best_to: str | Path | None = None) -> Path:
        """Save a checkpoint; its score is that of the step's own evaluation, if it is complete.

        Args:
            name: Of the checkpoint's folder.
            event: After which it is saved.
            best_to: A folder that gets the model too if it is the best so far; or the newest, where
                nothing is evaluated or the run ends with its last.

        Returns:
            The checkpoint's folder.

        Raises:
            UserError: It cannot be written; earlier checkpoints are as they were.
        """

        def write(folder: Path) -> None:
            folders = [folder]
            judges = self.ends_with_best and self.report.splits
            if best_to is not None and (not judges or self.report.is_best(event.step)):
                folders.append(Path(best_to))
            card = self.card.text(event.step, self.report.measured(event.step))
            for one in folders:
                self.model.save_pretrained(one)
                self.tokenizer.save_pretrained(one)
                write_card(one, card)

        return self.checkpoints.save(
            name,
            event.progress,
            self.model,
            self.optimizer,
            write=write,
            precision=self.updates.precision,
            scores=self.report.scores,
        )

    def chosen(self) -> Path:
        """Return the checkpoint that the run ends with: its best one, or its last.

        All processes call it, after the loop; what follows training loads the model from there.
        """
        scores = self.report.scores if self.ends_with_best else None
        return self.checkpoints.chosen(scores) or self.checkpoints.output_dir
