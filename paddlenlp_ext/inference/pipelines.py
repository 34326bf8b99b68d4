"""Answers of a model to plain texts, in one call.

    from paddlenlp_ext.inference.pipelines import pipeline
    classify = pipeline("text-classification", "outputs/model_500")
    classify(["a fine film", "a dull one"])  # [{"label": "positive", "score": 0.98}, …]

A pipeline takes one sample, a list, or an iterator, which it reads window by window; rows of like
length are computed together. Texts are tokenized, and labels are in the order, as the scripts'
evaluation has them, so that both give the same answers; answers are named as those of
transformers' pipelines. The model may be a folder, a preset, a repository, or what
`inference.export` has written, with its config and tokenizer beside it.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from paddlenlp_ext.errors import UserError, shown
from paddlenlp_ext.files.sources import Source
from paddlenlp_ext.inference.base import Pipeline
from paddlenlp_ext.inference.classification import MultipleChoice, TextClassification
from paddlenlp_ext.inference.extraction import InformationExtraction
from paddlenlp_ext.inference.language import FillMask, TextGeneration
from paddlenlp_ext.inference.runners import load
from paddlenlp_ext.inference.spans import QuestionAnswering, TokenClassification
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.process.devices import Type
from paddlenlp_ext.tokenizers.base import Tokenizer

TASKS: dict[str, type[Pipeline[Any]]] = {
    "text-classification": TextClassification,
    "token-classification": TokenClassification,
    "question-answering": QuestionAnswering,
    "multiple-choice": MultipleChoice,
    "fill-mask": FillMask,
    "text-generation": TextGeneration,
    "information-extraction": InformationExtraction,
}


def pipeline(
    task: str,
    model: str | Path | Source | Model,
    *,
    tokenizer: str | Path | Tokenizer | None = None,
    device: str | None = None,
    amp_dtype: Type | None = None,
    batch_size: int = 32,
    max_length: int | None = None,
    **options: Any,
) -> Pipeline[Any]:
    """Make a pipeline.

    Args:
        task: A key of `TASKS`.
        model: A model, its folder, a preset or repository, a program or an ONNX file; see
            `runners.load`.
        tokenizer: Its own, or where it is; by default beside the model.
        device: "cpu", "gpu", "xpu" or "npu"; by default Paddle's choice.
        amp_dtype: In which type large products are computed: "bfloat16" (on a CPU that has it, too)
            or "float16"; None is float32.
        batch_size: Rows that are computed together.
        max_length: Longer texts are cut; by default, at what the model has positions for. The
            scripts call it `max_seq_length`.
        options: What each call may change too; the classes in `TASKS` have them.

    Raises:
        UserError: There is no such task or model, or the model was not trained for the task.
        DeviceError: The device is not there, or does not compute in this type.
    """
    if task not in TASKS:
        near = difflib.get_close_matches(str(task), TASKS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"unknown task {shown(task)}; {hint}known: {', '.join(TASKS)}")
    cls = TASKS[task]
    loaded = load(model, cls.head, tokenizer=tokenizer, device=device, amp_dtype=amp_dtype)
    return cls(loaded, batch_size=batch_size, max_length=max_length, **options)
