"""Evaluate a saved model, and predict rows with it: what `do_eval` and `do_predict` ask for."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.metrics import class_table
from paddlenlp_ext.models.auto import AutoModel, AutoModelForSequenceClassification
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.tasks.download import official_folder
from paddlenlp_ext.tasks.label_orders import is_unnamed, label_order
from paddlenlp_ext.tasks.own import OwnData
from paddlenlp_ext.tasks.prediction_files import write_labels
from paddlenlp_ext.tasks.predictions import LabelPredictions, kind_of
from paddlenlp_ext.tasks.rows import read_examples
from paddlenlp_ext.tasks.submissions import pack_submission, write_submission
from paddlenlp_ext.tasks.task import Task, TextExample
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.checkpoint import require_everywhere
from paddlenlp_ext.training.events import Evaluated
from paddlenlp_ext.training.finetune import Predictions, evaluate_and_predict, predict
from paddlenlp_ext.training.languages import split_name
from paddlenlp_ext.training.loaders import Batching, report_skipped_rows
from paddlenlp_ext.training.losses import judge
from paddlenlp_ext.training.report import LogEvaluation, say
from paddlenlp_ext.training.results import append_evaluation
from paddlenlp_ext.training.run import Run, require_positions
from paddlenlp_ext.training.settings import RunSettings


def read_splits(
    settings: RunSettings,
    source: Task | OwnData,
    data_dir: str | Path | None,
    *,
    trains: bool,
    evaluates: bool,
    predicts: bool,
) -> dict[str, list[TextExample]]:
    """Read the splits that a trained model is used on.

    Args:
        settings: Say how many rows are used, and what becomes of bad ones.
        source: A task whose files are read, or a user's files.
        data_dir: Folder of the files, or the one above it; None downloads the official ones.
        trains: Whether the run trains the model, and so has evaluated it.
        evaluates: Whether labelled rows are evaluated.
        predicts: Whether the test rows are predicted.

    Raises:
        DataError: A file is missing or holds rows that cannot be used.
    """
    if not isinstance(source, Task):
        return source.to_use(trains=trains, predicts=predicts)
    task = source
    found: dict[str, list[TextExample]] = {}
    wanted = [*task.splits][1:] if evaluates and not trains else []
    for split in wanted + [*task.unlabelled] * predicts:
        folder = data_dir or official_folder(task, split)
        examples = read_examples(task, split, folder, on_bad_row=settings.on_bad_row)
        report_skipped_rows(examples.bad_rows)
        found[split] = examples[: settings.max_eval_samples]
    return found


def load_trained(
    cls: type[AutoModel] | type[Model], folder: str | Path, settings: RunSettings
) -> Model:
    """Load a model that was trained on a task.

    Raises:
        UserError: There is no model, its head is new, or it has no positions for such rows.
    """
    gc.collect()  # a model that was just trained goes before the saved one comes
    model = cls.from_pretrained(folder)
    if model.load_report is not None and model.load_report.missing:
        lacking = ", ".join(model.load_report.missing)
        raise UserError(
            f"{folder}: expected a model that was trained on the task, it has no {lacking}; train "
            "one with `do_train`"
        )
    require_positions(model, settings.max_seq_length, settings.pad_to_multiple_of)
    model.compute_unread(settings.skip_unread_positions is False)
    if settings.compiled_layers is not None:
        model.compile_layers(settings.compiled_layers and settings.is_on_host)
    if settings.use_amp and settings.is_on_host:  # elsewhere it is for training alone
        model.compute_in(settings.amp_dtype or "float16", asked="use_amp")
    return model


@dataclass(frozen=True)
class Trained:
    """A model that was trained on a task, as it was saved.

    Attributes:
        folder: Where.
        model: Loaded from there.
        batching: How examples become batches.
        task: What it was trained on.
    """

    folder: Path
    model: Model
    batching: Batching
    task: Task

    @classmethod
    def load(cls, run: Run, folder: str | Path, task: Task) -> Trained:
        """Load a model.

        Args:
            run: Its settings say how texts are cut, and where results go.
            folder: Where it was saved.
            task: What it was trained on.

        Raises:
            UserError: There is no model, none that was trained on the task, or none that reads rows
                of `max_seq_length`.
        """
        settings = run.settings
        require_everywhere(folder)
        if not (Path(folder) / "config.json").is_file():
            raise UserError(
                f"{folder}: there is no trained model (config.json) to test; make one with "
                "`do_train`, or give the folder of a checkpoint as `model_name_or_path`"
            )
        model = load_trained(AutoModelForSequenceClassification, folder, settings)
        _require_labels(model, folder, task)
        tokenizer = AutoTokenizer.from_pretrained(settings.tokenizer_name or folder)
        return cls(Path(folder), model, run.batching(tokenizer), task)

    def evaluate(
        self, examples: Sequence[TextExample], split: str
    ) -> tuple[Evaluated, Predictions]:
        """Evaluate labelled examples, and return what is predicted too; all processes call it."""
        loss, metric = judge(self.task, self.model)
        loader = self.batching.evaluation_loader(self.batching.features(examples))
        return evaluate_and_predict(self.model, loader, loss=loss, metric=metric, split=split)

    def predict(self, examples: Sequence[TextExample]) -> Predictions:
        """Predict examples, whose labels do not matter; all processes call it."""
        loader = self.batching.evaluation_loader(self.batching.features(examples))
        return predict(self.model, loader)

    def write(
        self, examples: Sequence[TextExample], predictions: Predictions, part: str = ""
    ) -> npt.NDArray[np.float32]:
        """Write predictions into the output folder, on the first process.

        Args:
            examples: What was predicted.
            predictions: Of them.
            part: What of the data they are, where there are several parts: a language.

        Returns:
            Logits in the order of the task's labels; [N, C].
        """
        logits = np.asarray(predictions)
        config, labels = self.model.config, self.task.labels
        if labels and (order := label_order(self.task, config.label_names)):
            logits = logits[:, list(order)]
        if distributed.rank() == 0:
            found = LabelPredictions.of(
                logits,
                [one.source for one in examples],
                labels or config.label_names,
                "none" if labels is None else kind_of(config.num_labels, config.problem_type),
            )
            table = write_labels(Path(self.batching.settings.output_dir), part, found)
            say(f"predictions of {len(examples):,} rows: {table}\n")
        return logits

    def test_languages(
        self, examples: Mapping[str, Sequence[TextExample]], *, evaluates: bool, predicts: bool
    ) -> Iterable[Evaluated]:
        """Evaluate on each language in turn, or predict each into a file of its own, or both.

        What is evaluated alone is computed as it is asked for, by all processes; else all
        predictions are written first.

        Args:
            examples: By language.
            evaluates: Whether they have labels that are wanted; else there is no event.
            predicts: Whether predictions are written.
        """
        names = {language: split_name("test", language) for language in examples}
        if not predicts:
            languages = examples if evaluates else ()
            return (self.evaluate(examples[one], names[one])[0] for one in languages)
        events = []
        for language, rows in examples.items():
            if evaluates:
                event, predictions = self.evaluate(rows, names[language])
                events.append(event)
            else:
                predictions = self.predict(rows)
            self.write(rows, predictions, language)
        return events

    def submit(self, splits: Mapping[str, Sequence[TextExample]], folder: str | Path) -> None:
        """Predict the splits of GLUE whose labels only its server knows, and write its files.

        Args:
            splits: Their examples.
            folder: Where the server's files of all tasks come together.
        """
        for split, examples in splits.items():
            part = split.removeprefix("test").removeprefix("_")
            logits = self.write(examples, self.predict(examples), part)
            if distributed.rank() == 0:
                say(f"for GLUE: {write_submission(Path(folder), self.task, split, logits)}\n")
        if distributed.rank() == 0:
            archive, lacking = pack_submission(Path(folder))
            say(f"for GLUE: {archive}" + (f", which lacks: {'; '.join(lacking)}" * bool(lacking)))
            say("\n")


def _require_labels(model: Model, folder: str | Path, task: Task) -> None:
    """Refuse a model with the labels of another task; say if they are in another order.

    Raises:
        UserError: It has.
    """
    names = model.config.label_names
    order = label_order(task, names)
    if len(names) != task.num_labels or (order is None and not is_unnamed(names)):
        raise UserError(
            f"{folder}/config.json: expected {task.name}'s labels "
            f"({', '.join(task.labels or ())}), got {', '.join(names)}; give the `task` that it "
            "was trained on"
        )
    if order is not None and order != tuple(range(task.num_labels)):
        listed = ", ".join(names)
        say(f"note: {folder} has the labels in another order ({listed}); it is tested by that\n")


def use_trained(
    run: Run,
    folder: str | Path,
    task: Task,
    splits: Mapping[str, Sequence[TextExample]],
    *,
    log_evaluation: LogEvaluation,
    predicts: bool,
    submission_dir: str | Path | None,
) -> dict[str, float]:
    """Evaluate the labelled splits with a trained model, and predict the test rows.

    Args:
        run: Of the script.
        folder: Where the model was saved.
        task: What it was trained on.
        splits: Of `read_splits`.
        log_evaluation: The script's text of an evaluated split.
        predicts: Whether the test rows are predicted.
        submission_dir: Where files for GLUE's server go; None writes predictions alone.

    Returns:
        The metrics by "split name".
    """
    trained = Trained.load(run, folder, task)
    metrics: dict[str, float] = {}
    found: dict[str, Predictions] = {}
    for split, rows in splits.items():
        if split in task.splits:
            event, found[split] = trained.evaluate(rows, split)
            say(log_evaluation(event, event.seconds) + class_table(event.metrics))
            metrics |= {f"{split} {name}": value for name, value in event.metrics.items()}
            if distributed.rank() == 0:
                facts = run.settings.facts(task.folder, trained=False)
                append_evaluation(run.settings.output_dir, event, facts)
    if predicts and submission_dir is None:
        rows = splits["test"]
        trained.write(rows, found["test"] if "test" in found else trained.predict(rows))
    elif predicts and submission_dir is not None:
        tests = {split: rows for split, rows in splits.items() if split in task.unlabelled}
        trained.submit(tests, submission_dir)
    return metrics
