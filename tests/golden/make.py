"""Make the golden files: tiny random models of transformers, their inputs and their answers.

    python -m tests.golden.make [FAMILY ...]

They let every test run compare with transformers without it. `<family>.npz` holds

- `about`: JSON in UTF-8: the versions that made the file, and each class's config and `model_type`;
- `encoder/<name>`: the bare model's tensors, shared by all classes;
- `<class>/head/<name>`, `<class>/inputs/<name>` and `<class>/answers/<name>`, by our class's name.

Where transformers has no class or answers otherwise, the family's function says what is done.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from tests.parity.reference import each_choice, randomize, reference_outputs
from tests.tiny import FAMILY_SIZES, SIZES, arrays

FOLDER = Path(__file__).parent
TASKS = (
    "Model",
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
)
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Golden:
    """One class: our name, the model of transformers, what it is given and what it answers."""

    name: str
    reference: torch.nn.Module
    inputs: Arrays
    answers: Arrays


def bert() -> Iterator[Golden]:
    """BERT; as a decoder it has another name there."""
    config = transformers.BertConfig(**SIZES, **FAMILY_SIZES["bert"])
    for task in (*TASKS, "ForPreTraining", "ForNextSentencePrediction"):
        yield ask(f"Bert{task}", getattr(transformers, f"Bert{task}")(config))
    config.is_decoder = True
    yield ask("BertForCausalLM", transformers.BertLMHeadModel(config))


def rembert() -> Iterator[Golden]:
    """RemBERT."""
    config = transformers.RemBertConfig(**SIZES, **FAMILY_SIZES["rembert"])
    for task in TASKS:
        yield ask(f"RemBert{task}", getattr(transformers, f"RemBert{task}")(config))
    config.is_decoder = True
    yield ask("RemBertForCausalLM", transformers.RemBertForCausalLM(config))


def ernie_m() -> Iterator[Golden]:
    """ERNIE-M: without a language-model head; its extraction answers logits, ours probabilities."""
    config = transformers.ErnieMConfig(**SIZES, **FAMILY_SIZES["ernie_m"])
    for task in TASKS:
        if task != "ForMaskedLM":
            yield ask(f"ErnieM{task}", getattr(transformers, f"ErnieM{task}")(config))
    extractor = ask("UIEM", transformers.ErnieMForInformationExtraction(config))
    probabilities = {
        name.replace("logits", "prob"): 1 / (1 + np.exp(-logits))
        for name, logits in extractor.answers.items()
    }
    yield Golden("UIEM", extractor.reference, extractor.inputs, probabilities)


def convbert() -> Iterator[Golden]:
    """ConvBERT, with the padding token of the published models instead of transformers' default."""
    config = transformers.ConvBertConfig(**SIZES, **FAMILY_SIZES["convbert"], pad_token_id=0)
    for task in TASKS:
        yield ask(f"ConvBert{task}", getattr(transformers, f"ConvBert{task}")(config))


def electra() -> Iterator[Golden]:
    """ELECTRA; its discriminator has another name there."""
    config = transformers.ElectraConfig(**SIZES, **FAMILY_SIZES["electra"])
    for task in TASKS:
        yield ask(f"Electra{task}", getattr(transformers, f"Electra{task}")(config))
    yield ask("ElectraDiscriminator", transformers.ElectraForPreTraining(config))
    config.is_decoder = True
    yield ask("ElectraForCausalLM", transformers.ElectraForCausalLM(config))


def ernie() -> Iterator[Golden]:
    """ERNIE."""
    config = transformers.ErnieConfig(**SIZES, **FAMILY_SIZES["ernie"])
    for task in (*TASKS, "ForPreTraining", "ForNextSentencePrediction"):
        yield ask(f"Ernie{task}", getattr(transformers, f"Ernie{task}")(config))
    config.is_decoder = True
    yield ask("ErnieForCausalLM", transformers.ErnieForCausalLM(config))


def xlm_r() -> Iterator[Golden]:
    """XLM-RoBERTa."""
    config = transformers.XLMRobertaConfig(**SIZES, **FAMILY_SIZES["xlm-roberta"])
    for task in TASKS:
        yield ask(f"XLMRoberta{task}", getattr(transformers, f"XLMRoberta{task}")(config))
    config.is_decoder = True
    yield ask("XLMRobertaForCausalLM", transformers.XLMRobertaForCausalLM(config))


FAMILIES: dict[str, Callable[[], Iterator[Golden]]] = {
    "bert": bert,
    "rembert": rembert,
    "ernie_m": ernie_m,
    "convbert": convbert,
    "electra": electra,
    "ernie": ernie,
    "xlm-roberta": xlm_r,
}


def ask(name: str, reference: torch.nn.Module) -> Golden:
    """Give a model random weights, the encoder the same in all classes, and run it."""
    randomize(reference, seed=5)
    encoder = reference.base_model
    if encoder is not reference:
        bare = randomize(type(encoder)(encoder.config), seed=11)
        encoder.load_state_dict(bare.state_dict(), strict=False)  # some heads have no pooler
    else:
        randomize(reference, seed=11)
    batch = arrays(pad=encoder.config.pad_token_id)
    if not hasattr(encoder.config, "type_vocab_size"):
        del batch["token_type_ids"]
    if name.endswith("ForMultipleChoice"):
        batch = each_choice(batch)
    return Golden(name, reference, batch, reference_outputs(reference, batch))


def head(reference: torch.nn.Module) -> Arrays:
    """The tensors of a model that are not its encoder's, nor repeat one of them."""
    encoder = {tensor.data_ptr() for tensor in reference.base_model.state_dict().values()}
    return {
        name: tensor.numpy()
        for name, tensor in reference.state_dict().items()
        if tensor.data_ptr() not in encoder
    }


def make(family: str) -> Path:
    """Write the file of one family."""
    arrays_of: dict[str, Any] = {}
    configs = {}
    for golden in FAMILIES[family]():
        configs[golden.name] = golden.reference.config.to_dict()
        if golden.reference.base_model is golden.reference:
            tensors = golden.reference.state_dict().items()
            arrays_of |= {f"encoder/{name}": tensor.numpy() for name, tensor in tensors}
        groups = {
            "head": head(golden.reference),
            "inputs": golden.inputs,
            "answers": golden.answers,
        }
        for group, members in groups.items():
            for name, array in members.items():
                arrays_of[f"{golden.name}/{group}/{name}"] = array
    versions = {module.__name__: module.__version__ for module in (np, torch, transformers)}
    about = json.dumps({"versions": versions, "configs": configs}).encode()
    path = FOLDER / f"{family}.npz"
    np.savez_compressed(path, about=np.frombuffer(about, np.uint8), **arrays_of)
    return path


if __name__ == "__main__":
    for chosen in sys.argv[1:] or FAMILIES:
        made = make(chosen)
        print(f"{made}: {made.stat().st_size} bytes")
