"""All scripts with tiny models, each run in a process of its own that is forked from this one."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from paddlenlp_ext.cli import program
from tests.docs.test_readmes import script_of
from tests.faults.runs import encoder
from tests.scripts import multilingual, pretraining_run
from tests.scripts.test_bert_run_glue import ROOT
from tests.scripts.test_convbert_run_pretrain import WORDS, write_corpus

EXAMPLES = ROOT / "examples/language_model"
DATA = ROOT / "data"
Flags = dict[str, Any]  # True: without a value; a list: several values; None: not given
TINY = {
    "embedding_size": 11,
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 32,
    "generator": {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 13},
}


@dataclass(frozen=True)
class Script:
    """A script, and flags with which it ends well after an update or two.

    Attributes:
        path: The script.
        flags: By their names; where its results go is added by `run`.
        output: The flag that says where results go.
    """

    path: Path
    flags: Mapping[str, Any]
    output: str = "output_dir"

    def run(self, place: Path, changes: Mapping[str, Any], limit: int = 120) -> tuple[int, str]:
        """Run the script in a child of this process; return its exit code and what it said."""
        place.mkdir(parents=True)
        given = {**self.flags, self.output: place / "out"} | dict(changes)
        return forked(lambda: script_of(self.path).main(command_line(given)), place / "said", limit)


def command_line(flags: Mapping[str, Any]) -> list[str]:
    """Spell flags out; a value that looks like a flag is tied to its name."""
    words = []
    for name, value in flags.items():
        values = value if isinstance(value, list) else [value]
        if value is True or len(values) > 1:
            words += [f"--{name}", *(map(str, values) if value is not True else ())]
        elif value is not None:
            words.append(f"--{name}={values[0]}")
    return words


def forked(main: Callable[[], object], said: Path, limit: int) -> tuple[int, str]:
    """Run what a script runs in a child; negative codes are those of signals."""
    child = os.fork()
    if child == 0:
        log = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        signal.alarm(limit)
        code = 1
        try:
            program.run(main)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status), said.read_text(encoding="utf-8", errors="replace")


@cache
def scripts(folder: Path) -> dict[str, Script]:
    """Prepare all scripts in a folder."""
    glue = {"task_name": "RTE", "data_dir": DATA / "glue", "max_seq_length": 24, "max_steps": 1}
    glue |= {"model_type": "bert", "model_name_or_path": encoder(folder), "batch_size": 4}
    languages = {"data_dir": DATA, "max_seq_length": 24, "device": "cpu", "max_eval_samples": 4}
    places = {name: folder / name for name in ("rembert", "ernie_m", "bert", "pair", "corpus")}
    for place in places.values():
        place.mkdir()
    said = folder / "said-of-preparing"
    code, text = forked(lambda: pretraining_run.prepare(places["bert"]), said, 60)
    assert code == 0, text
    shards = {"model_type": "bert", "model_name_or_path": places["bert"] / "model", "n_gpu": 0}
    shards |= {"input_dir": places["bert"] / "data", "max_predictions_per_seq": 5}
    shards |= {"batch_size": 4, "max_steps": 1, "logging_steps": 1, "from_scratch": True}
    shards |= {"num_train_epochs": 1, "max_train_samples": 8}
    pair = {"model_type": "electra", "model_name_or_path": _pair(places["pair"]), "device": "cpu"}
    pair |= {"input_dir": write_corpus(places["corpus"], 43, 9), "max_seq_length": 16}
    pair |= {"train_batch_size": 4, "max_steps": 1, "logging_steps": 1, "save_steps": 1}
    pair |= {"from_scratch": True}
    create = {"input_file": DATA / "pretraining/sample_text_held_out.txt", "dupe_factor": 1}
    create |= {"vocab_file": places["bert"] / "model/vocab.txt", "max_seq_length": 32}
    rembert = languages | {"model_name_or_path": multilingual.rembert(places["rembert"])}
    rembert |= {"task": "xnli", "do_train": True, "do_eval": True, "max_train_samples": 8}
    rembert |= {"train_batch_size": 8, "eval_batch_size": 64, "num_train_epochs": 1}
    rembert |= {"gradient_accumulation_steps": 1}
    (places["corpus"] / "en.txt").write_text("A cat.\nTwo cats.\n", encoding="utf-8")
    (places["corpus"] / "en-de.tsv").write_text("A cat.\tEine Katze.\n", encoding="utf-8")
    shared = {"tokenizer_name": places["rembert"], "text_files": places["corpus"] / "en.txt"}
    shared |= {"parallel_files": places["corpus"] / "en-de.tsv", "max_seq_length": 32}
    ernie_m = languages | {"model_name_or_path": multilingual.ernie_m(places["ernie_m"])}
    ernie_m |= {"task_type": "cross-lingual-transfer", "max_steps": 1, "save_steps": 1}
    ernie_m |= {"batch_size": 8, "eval_batch_size": 64}
    return {
        "BERT run_glue": Script(EXAMPLES / "bert/run_glue.py", glue | {"n_gpu": 0}),
        "ConvBERT run_glue": Script(EXAMPLES / "convbert/run_glue.py", glue | {"device": "cpu"}),
        "RemBERT main": Script(EXAMPLES / "rembert/main.py", rembert),
        "ERNIE-M run_classifier": Script(EXAMPLES / "ernie_m/run_classifier.py", ernie_m),
        "BERT run_pretrain": Script(EXAMPLES / "bert/run_pretrain.py", shards),
        "ConvBERT run_pretrain": Script(EXAMPLES / "convbert/run_pretrain.py", pair),
        "create_pretraining_data": Script(
            EXAMPLES / "bert/create_pretraining_data.py", create, output="output_file"
        ),
        "multilingual create_pretraining_data": Script(
            EXAMPLES / "multilingual/create_pretraining_data.py", shared
        ),
    }


def _pair(folder: Path) -> Path:
    """The shape of a tiny pair of nets, and a vocabulary; pretraining begins at random."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    config = TINY | {"model_type": "electra", "vocab_size": len(pieces)}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
