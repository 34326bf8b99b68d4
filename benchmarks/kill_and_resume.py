"""Kill pretraining with SIGKILL at random moments, resume it, and compare the final weights.

    python benchmarks/kill_and_resume.py --runs 20 --processes 1

Every run is `run_pretrain.py` on the sample corpus with a tiny model, for more than an epoch. It is
killed once, at a random moment of each part of the time that an unbroken run takes, and continued
with `--resume_from_checkpoint latest` until it ends. It saves and evaluates at every other step, so
many kills fall into a save. Prints one JSON line: how many runs ended with the very bytes of
weights and optimizer of the unbroken run, and what the kills interrupted.

Paddle is imported once, here; each run is a fork that has computed nothing before.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import random
import re
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "examples/language_model/bert"
STEPS = 16
COMPARED = ("model_state.pdparams", "optimizer.safetensors")
CONFIG = {
    "model_type": "bert",
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 37,
    "max_position_embeddings": 32,
}


def script(name: str) -> ModuleType:
    """Import a script."""
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def prepare(folder: Path) -> None:
    """Write a tiny model's shape, a vocabulary of the sample corpus, and shards of it."""
    corpus = ROOT / "data/pretraining"
    text = (corpus / "sample_text.txt").read_text(encoding="utf-8")
    counts = Counter(re.findall(r"[a-z]+|[^\w\s]", text.lower()))
    letters = [
        f"{prefix}{letter}" for prefix in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyz"
    ]
    words = [word for word, _ in counts.most_common(2000) if word not in letters]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *words]
    model = folder / "model"
    model.mkdir()
    (model / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (model / "config.json").write_text(json.dumps({**CONFIG, "vocab_size": len(tokens)}))
    for source, target, shards in (("", "data/train.hdf5", 3), ("_held_out", "data/dev.hdf5", 1)):
        arguments = {
            "input_file": corpus / f"sample_text{source}.txt",
            "output_file": folder / target,
            "vocab_file": model / "vocab.txt",
            "max_seq_length": 32,
            "dupe_factor": 1,
            "num_shards": shards,
        }
        script("create_pretraining_data").main(flags(arguments))


def flags(arguments: dict[str, object]) -> list[str]:
    """Write arguments as a command line."""
    return [word for name, value in arguments.items() for word in (f"--{name}", str(value))]


def pretraining(folder: Path, output: Path, **changes: object) -> list[str]:
    """The command line of a run."""
    arguments = {
        "model_type": "bert",
        "model_name_or_path": folder / "model",
        "max_predictions_per_seq": 5,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "weight_decay": 1e-2,
        "warmup_steps": 3,
        "num_train_epochs": "1e5",
        "input_dir": folder / "data",
        "eval_dir": folder / "data",
        "output_dir": output,
        "logging_steps": 1,
        "save_steps": 2,
        "max_steps": STEPS,
        "max_train_samples": 75,
        "max_eval_samples": 20,
        "n_gpu": 0,
        "resume_from_checkpoint": "latest",
    }
    return [*flags(arguments | changes), "--from_scratch"]


def start(processes: int, arguments: list[str], log: Path) -> list[int]:
    """Fork the processes of a run."""
    sockets = [socket.socket() for _ in range(processes)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    children = []
    for rank in range(processes):
        if child := os.fork():
            children.append(child)
            continue
        code = 1
        try:
            output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.environ.update(
                PADDLE_TRAINER_ID=str(rank),
                PADDLE_TRAINERS_NUM=str(processes),
                PADDLE_TRAINER_ENDPOINTS=",".join(ports),
                PADDLE_CURRENT_ENDPOINT=ports[rank],
                PADDLE_MASTER=ports[0],
                PADDLE_DISTRI_BACKEND="gloo",
            )
            script("run_pretrain").main(arguments)
            code = 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    return children


def wait(children: list[int]) -> list[int]:
    """Wait for all; when one is lost, kill the others, as a launcher does."""
    codes: dict[int, int] = {}
    while len(codes) < len(children):
        child, status = os.waitpid(-1, 0)
        codes[child] = os.waitstatus_to_exitcode(status)
        if codes[child]:
            for other in set(children) - codes.keys():
                os.kill(other, signal.SIGKILL)
    return [codes[child] for child in children]


def digest(output: Path) -> str:
    """Digest the weights and the optimizer of a run's end."""
    content = hashlib.sha256()
    for name in COMPARED:
        content.update((output / f"model_{STEPS}" / name).read_bytes())
    return content.hexdigest()


def interrupted(output: Path) -> str:
    """Tell from what a killed run left what it was doing."""
    if any(output.glob(".tmp-*")) or any(output.glob(".old-*")):
        return "saving"
    if not (output / "history.jsonl").exists():
        return "starting"
    return "training or evaluating"


def losses(log: Path) -> dict[str, set[str]]:
    """Collect what a log says of the loss of each step."""
    found: dict[str, set[str]] = {}
    for step, loss in re.findall(r"global step: (\d+),.* loss: (\S+),", log.read_text()):
        found.setdefault(step, set()).add(loss)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from paddlenlp_ext import runtime

    runtime.tune()
    runtime.import_paddle()
    began = time.monotonic()
    moment = random.Random(args.seed)
    batch_size = 8 // args.processes
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        log = folder / "run.log"

        def run(output: Path) -> list[int]:
            return start(args.processes, pretraining(folder, output, batch_size=batch_size), log)

        whole = time.monotonic()
        assert not any(wait(run(folder / "whole"))), log.read_text()
        whole = time.monotonic() - whole
        expected = digest(folder / "whole")
        identical, kills = 0, Counter()
        for number in range(args.runs):
            output = folder / f"run{number}"
            children = run(output)
            time.sleep(0.95 * whole * (number + moment.random()) / args.runs)
            with suppress(ProcessLookupError):
                os.kill(moment.choice(children), signal.SIGKILL)
            kills[interrupted(output) if any(wait(children)) else "nothing"] += 1
            assert not any(wait(run(output))), log.read_text()
            identical += digest(output) == expected
        report = {
            "runs": args.runs,
            "processes": args.processes,
            "identical": identical,
            "killed while": dict(kills),
            "steps": len(losses(log)),
            "losses a step": max(map(len, losses(log).values())),
            "seconds": round(time.monotonic() - began, 1),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
