"""What a run says on stderr of itself: before it begins, what it will do; at its end, what came."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from paddlenlp_ext.errors import one_line
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.generation import ForCausalLM
from paddlenlp_ext.models.heads import (
    SEQUENCE_CLASSIFIERS,
    ForMaskedLM,
    ForMultipleChoice,
    ForQuestionAnswering,
    ForTokenClassification,
)
from paddlenlp_ext.reporting.scores import best
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.checkpoint import Checkpoints
from paddlenlp_ext.training.events import Progress
from paddlenlp_ext.training.loaders import RunData
from paddlenlp_ext.training.report import Report
from paddlenlp_ext.training.settings import RunSettings

FLOAT = 4  # bytes
LABELS = 10  # that are named
SPLITS = 2  # each of which is listed
COLUMNS = (  # besides that of the text; where they are not given they are guessed
    *("text_pair_column_name", "context_column_name", "question_column_name"),
    *("choices_column_names", "language_column_name"),
)
PREDICTED = (  # whose rows the console command predicts
    *SEQUENCE_CLASSIFIERS,
    *(ForTokenClassification, ForQuestionAnswering, ForMultipleChoice),
)


def tell(lines: Mapping[str, str]) -> None:
    """Print what is known, by what it is, on the first process."""
    if distributed.rank() == 0:
        text = "".join(f"{name + ':':8} {line}\n" for name, line in lines.items() if line)
        print(text, end="", file=sys.stderr, flush=True)


def plan(
    settings: RunSettings,
    task: str,
    model: Model,
    data: RunData[Any],
    total_steps: int,
    progress: Progress | None,
) -> dict[str, str]:
    """Describe what a run will do.

    Args:
        settings: What it is set up with.
        task: With its collection: "glue/SST-2".
        model: As it is trained.
        data: What it is trained and evaluated on.
        total_steps: Updates of the whole run.
        progress: Where it continues; None at its beginning.
    """
    splits = {"train": data.train} | dict(data.evaluate_on)
    rows = ", ".join(f"{split} {batches.num_rows:,}" for split, batches in splits.items())
    processes = distributed.world_size()
    batch = settings.batch_size * settings.gradient_accumulation_steps * processes
    passes = total_steps / -(-len(data.train) // settings.gradient_accumulation_steps)
    begun = f" from step {progress.step:,} on" if progress and progress.step else ""
    every = f", evaluated and saved every {settings.save_steps:,}" * (settings.save_steps > 0)
    threads = os.environ.get("OMP_NUM_THREADS", "")
    threads = (
        f", {threads} thread{'s' * (threads != '1')}" if settings.is_on_host and threads else ""
    )
    memory = training_memory(model, settings.batch_size, data.max_length, settings.recompute)
    count = sum(parameter.size for parameter in model.parameters())
    return {
        "task": task + _labels(model),
        "model": f"{type(model).__name__}, {count:,} parameters, "
        f"from {settings.model_name_or_path}",
        "rows": f"{rows}; of up to {data.max_length} tokens",
        "steps": f"{total_steps:,}{begun}, {batch} rows each, {passes:.3g} passes over the data"
        + every,
        "device": f"{settings.device}, {processes} process{'es' * (processes > 1)}{threads}; about "
        f"{memory / 2**30:.1f} GiB for a model and its longest rows",
        "output": str(settings.output_dir),
    }


def training_memory(model: Model, batch_size: int, length: int, recompute: bool) -> int:
    """Estimate the bytes that training takes in float32, apart from Paddle itself.

    Weights; gradients and AdamW's two means of what is trained; and what an encoder keeps of its
    layers, as section 4.1 of https://arxiv.org/abs/2205.05198 counts it (in 16 bits).
    """
    config = model.config
    parameters = model.parameters()
    trained = sum(one.size for one in parameters if not one.stop_gradient)
    fixed = FLOAT * (sum(one.size for one in parameters) + 3 * trained)
    hidden, heads, layers = (
        getattr(config, name)
        for name in ("hidden_size", "num_attention_heads", "num_hidden_layers")
    )
    layer = 2 * batch_size * length * (34 * hidden + 5 * heads * length)
    kept = FLOAT * batch_size * length * hidden
    return int(fixed + (layers * kept + layer if recompute else layers * layer))


def outcome(
    checkpoints: Checkpoints, report: Report, model: Model, *, ends_with_best: bool
) -> dict[str, str]:
    """Describe what a run has come to, and how to use the model that it ends with.

    Args:
        checkpoints: Of the run; one that was not kept is not mentioned.
        report: Knows the scores; on the first process.
        model: Of the class that was trained.
        ends_with_best: Whether that is its best model, where one is known, or its last.
    """
    top = best(report.scores)
    manifests = checkpoints.own()
    steps = {path: facts["step"] for path, facts in manifests.items()}
    chosen = top if ends_with_best else None
    folder = max(steps, key=lambda path: (steps[path] == chosen, steps[path]), default=None)
    if folder is None:
        return {}
    name = shlex.quote(str(folder))
    return {
        "result": _result(report, top, None if ends_with_best else steps[folder]),
        "model": str(folder),
        "use it": _use(model, name, manifests[folder].get("settings") or {}),
    }


def _use(model: Model, folder: str, settings: Mapping[str, Any]) -> str:
    """Return a command that uses a model; none for one that is there to be trained further."""
    if isinstance(model, PREDICTED):
        negatives = " --version_2_with_negative" * bool(settings.get("version_2_with_negative"))
        return f"paddlenlp-ext predict {folder} FILE{_columns()}{negatives}"
    is_causal = isinstance(model, ForCausalLM)
    if not (is_causal or isinstance(model, ForMaskedLM)):
        return ""
    return (
        f"paddlenlp-ext train language-modeling --model_name_or_path {folder} "
        f"{'--objective causal ' * is_causal}--do_predict --test_file FILE --output_dir DIR"
    )


def _columns() -> str:
    """Return what this process's command says of the columns of files."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--text_column_name", "--text_column", nargs="*")  # tags have the latter
    for name in COLUMNS:
        parser.add_argument(f"--{name}", nargs="*")
    given, _ = parser.parse_known_args(sys.argv[1:])
    said = {name: shlex.join(value) for name, value in vars(given).items() if value}
    return "".join(f" --{name} {value}" for name, value in said.items())


def _result(report: Report, best_step: int | None, last_step: int | None) -> str:
    """Say what was measured of the best step, and of the last where the run ends with that."""
    if best_step is None:
        return ""
    steps = {best_step: "best"}
    if last_step is not None:
        steps = {last_step: "last"} | {
            best_step: "last and best" if best_step == last_step else "best"
        }
    parts = (
        f"step {step:,} is {what}: {_numbers(report.measured(step))}"
        for step, what in steps.items()
    )
    return "; ".join(part.removesuffix(": ") for part in parts)


def _numbers(measured: Mapping[str, Mapping[str, float]]) -> str:
    """List the metrics of splits, of many of them their means."""
    if len(measured) <= SPLITS:
        numbers = {f"{split} {n}": v for split, one in measured.items() for n, v in one.items()}
        return ", ".join(f"{name} {value:.4f}" for name, value in numbers.items())
    names = next(iter(measured.values()))
    means = (f"{name} {fmean(one[name] for one in measured.values()):.4f}" for name in names)
    return f"{', '.join(means)}, means of {len(measured)} splits"


def _labels(model: Model) -> str:
    """Name the labels that a head decides on, or say how many there are."""
    if not isinstance(model, (*SEQUENCE_CLASSIFIERS, ForTokenClassification)):
        return ""
    names = model.config.label_names
    if len(names) == 1:
        return ", a number"
    more = f", … {len(names)} in all" if len(names) > LABELS else ""
    return f", labels {', '.join(map(one_line, names[:LABELS]))}{more}"
