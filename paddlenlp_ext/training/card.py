"""The card of a model, `README.md` beside it, whose metadata the Hugging Face Hub reads.

It says what the model is, what it was trained and evaluated on with which results, and how to load
it; the licence is left to the user. A card depends on nothing but the run, so a run that continues
writes the same. Its last line has a digest of all others: one that was changed by anybody is never
overwritten.
"""

from __future__ import annotations

import hashlib
import logging
import math
import platform
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files.disk import read_file
from paddlenlp_ext.files.hub import is_repository
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.generation import ForCausalLM
from paddlenlp_ext.models.heads import (
    SEQUENCE_CLASSIFIERS,
    ForMaskedLM,
    ForMultipleChoice,
    ForQuestionAnswering,
    ForTokenClassification,
)
from paddlenlp_ext.presets.families import find_preset
from paddlenlp_ext.process.redaction import hide_forms
from paddlenlp_ext.tasks.cross_lingual import ALL
from paddlenlp_ext.training.folders import write_text
from paddlenlp_ext.training.results import signature
from paddlenlp_ext.training.settings import RunSettings
from paddlenlp_ext.weights.folders import CARD

LIBRARY = "paddlenlp-ext"
PAGE = "https://github.com/paddlenlp-ext/paddlenlp_ext"
LICENSE = """\
# license: apache-2.0  # is yours to choose: see https://huggingface.co/docs/hub/repositories-licenses
"""
# Where the Hub has the data of tasks, by the collection, and in which language that is.
DATASETS = {
    "glue": ("nyu-mll/glue", "en"),
    "xnli": ("facebook/xnli", ""),
    "paws-x": ("google-research-datasets/paws-x", ""),
}
PIPELINES: Mapping[type[Model], str] = {
    **dict.fromkeys(SEQUENCE_CLASSIFIERS, "text-classification"),
    ForTokenClassification: "token-classification",
    ForQuestionAnswering: "question-answering",
    ForMultipleChoice: "multiple-choice",
    ForMaskedLM: "fill-mask",
    ForCausalLM: "text-generation",
}
METRICS = {  # what the Hub calls ours
    "acc": "accuracy",
    "mcc": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "exact": "exact_match",
}

_END = "<!-- written by paddlenlp-ext; SHA-256 of what stands above: {} -->\n"
_SIGNED = re.compile(re.escape(_END).replace(r"\{\}", "([0-9a-f]{64})"))
_LANGUAGE = re.compile("[a-z]{2,3}")
_RESUME = "--resume_from_checkpoint"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Card:
    """What the cards of a run's models have in common.

    Attributes:
        model: As it is trained.
        settings: Of the run.
        task: With its collection: "glue/SST-2".
        facts: Of the signature.
        rows: How many there are, by the split.
        total_steps: Updates of the whole run.
    """

    model: Model
    settings: RunSettings
    task: str
    facts: Mapping[str, Any]
    rows: Mapping[str, int]
    total_steps: int

    def text(self, step: int, measured: Mapping[str, Mapping[str, float]]) -> str:
        """Write a card.

        Args:
            step: After which the model is saved.
            measured: Metrics by the split, of that step.
        """
        above = f"---\n{self._metadata(measured)}{LICENSE}---\n\n{self._body(step, measured)}\n"
        above = above.encode("utf-8", "backslashreplace").decode()  # names that are not UTF-8
        return above + _END.format(_digest(above))

    @property
    def base_model(self) -> str | None:
        """The repository of the model that training began with, if the Hub has one."""
        name = self.settings.model_name_or_path
        if preset := find_preset(name):
            return preset.repository
        return name if is_repository(name) and not Path(name).expanduser().exists() else None

    @property
    def pipeline(self) -> str | None:
        """The task of the model in the Hub's words, which are those of our pipelines."""
        found = (task for head, task in PIPELINES.items() if isinstance(self.model, head))
        return next(found, None)

    @property
    def _dataset(self) -> tuple[str, str]:
        return DATASETS.get(self.task.partition("/")[0].lower(), ("", ""))

    def _place(self, split: str) -> tuple[str | None, str]:
        """Name a split as the Hub's data set does: its config, and its part of that."""
        kind, part = _parted(split)
        if self._dataset[0]:
            kind = "validation" if kind == "dev" else kind
        if self._dataset[0] != DATASETS["glue"][0]:
            return part or None, kind
        task = self.task.rpartition("/")[2].lower().replace("-", "")
        return task, f"{kind}_{part}" if part else kind

    def _languages(self, splits: Sequence[str]) -> list[str] | None:
        parts = [self._dataset[1], *(_parted(split)[1] for split in splits)]
        return list(dict.fromkeys(part for part in parts if _LANGUAGE.fullmatch(part))) or None

    def _metadata(self, measured: Mapping[str, Mapping[str, float]]) -> str:
        # Only now: it takes a good part of a second.
        from huggingface_hub import EvalResult, ModelCardData

        dataset, _ = self._dataset
        results = [
            EvalResult(
                task_type=self.pipeline or "other",
                dataset_type=dataset or self.task,
                dataset_name=self.task,
                dataset_config=config,
                dataset_split=part,
                metric_type=METRICS.get(metric, metric.replace(" ", "_")),
                metric_name=metric,
                metric_value=round(float(value), 6),
            )
            for split, values in measured.items()
            for config, part in [self._place(split)]
            for metric, value in values.items()
            if math.isfinite(value)
        ]
        data = ModelCardData(
            base_model=self.base_model,
            datasets=[dataset] if dataset else None,
            language=self._languages([*measured]),
            library_name=LIBRARY,
            metrics=[*dict.fromkeys(one.metric_type for one in results)] or None,
            model_name=self._title,
            eval_results=results or None,
            pipeline_tag=self.pipeline,
            tags=["paddle", "paddlenlp", self.model.config.model_type],
        )
        return f"{data.to_yaml(line_break=chr(10)).rstrip()}\n"

    @property
    def _title(self) -> str:
        base = Path(self.settings.model_name_or_path).name
        return f"{base}-{self.task.rpartition('/')[2]}".lower()

    def _body(self, step: int, measured: Mapping[str, Mapping[str, float]]) -> str:
        base = self.base_model
        begun = f"[{base}](https://huggingface.co/{base})" if base else f"`{_base(self.settings)}`"
        dataset, _ = self._dataset
        data = f"[{self.task}](https://huggingface.co/datasets/{dataset})" if dataset else self.task
        rows = ", ".join(f"{split} {count:,}" for split, count in self.rows.items())
        return f"""\
# {self._title}

{type(self.model).__name__}, trained from {begun}
on {data} (rows: {rows})
with [{LIBRARY}]({PAGE}): the model of step {step:,} of {self.total_steps:,}.

## Results

{self._results(measured)}

## How it was trained

```shell
{command(sys.argv)}
```

Python {platform.python_version()}; PaddlePaddle and {LIBRARY} as the signatures say.

## How to use it

```python
{self._use()}
```
"""

    def _results(self, measured: Mapping[str, Mapping[str, float]]) -> str:
        if not measured:
            return "Nothing was evaluated at this step."
        lines = ["| Split | Metric | Value |", "| --- | --- | --- |"]
        lines += [
            f"| {split} | {name} | {value:.4f} |"
            for split, values in measured.items()
            for name, value in values.items()
        ]
        signed = [
            signature(split=split, metric="+".join(values), **self.facts)
            for split, values in measured.items()
        ]
        return "\n".join([*lines, "", "```text", *signed, "```"])

    def _use(self) -> str:
        name = "user/name"  # nobody knows yet where it will be
        if task := self.pipeline:
            return (
                "from paddlenlp_ext.inference.pipelines import pipeline\n\n"
                f'ask = pipeline("{task}", "{name}")  # or the folder'
            )
        cls = type(self.model).__name__
        return (
            f"from paddlenlp_ext.transformers import AutoTokenizer, {cls}\n\n"
            f'model = {cls}.from_pretrained("{name}")  # or the folder\n'
            f'tokenizer = AutoTokenizer.from_pretrained("{name}")'
        )


def write_card(folder: Path, text: str) -> None:
    """Write a card into a folder of a model, unless somebody has changed the one that is there."""
    path = folder / CARD
    if path.is_symlink() or (path.exists() and not is_as_written(path)):
        logger.warning("%s was changed by hand and stays as it is", path)
        return
    write_text(path, text)


def is_as_written(path: Path) -> bool:
    """Return whether a card is one of ours that nobody has changed since."""
    try:
        text = read_file(path, 1 << 20).decode()
    except (WeightsError, UnicodeDecodeError):
        return False
    above, _, end = text.rpartition("\n<!-- ")
    found = _SIGNED.fullmatch(f"<!-- {end}")
    return bool(found) and found[1] == _digest(above + "\n")  # type: ignore[index]


def command(argv: Sequence[str]) -> str:
    """Write a command line for others: without secrets, and without where the run continued."""
    program, *words = argv
    at = program.replace("\\", "/").rfind("examples/")
    begun = f"python {program[at:]}" if at >= 0 else program
    shown, skips = [], False
    for word in words:
        if not skips and word.partition("=")[0] != _RESUME:
            shown.append(word)
        skips = word == _RESUME
    return hide_forms(" ".join([begun, *map(shlex.quote, shown)])).replace("```", "'''")


def _parted(split: str) -> tuple[str, str]:
    """Return what a split is, and the language or other part that it is of; empty for all."""
    kind, _, part = split.partition("_")
    return kind, "" if part == ALL else part


def _base(settings: RunSettings) -> str:
    return Path(settings.model_name_or_path).name or settings.model_name_or_path


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
