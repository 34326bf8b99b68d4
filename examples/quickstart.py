"""Fine-tune a real encoder on real sentences, then use it: what `make quickstart` runs.

    python examples/quickstart.py --encoder FOLDER --output_dir outputs/quickstart

The training is `examples/language_model/bert/run_glue.py`, called as its README calls it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from paddlenlp_ext.process import runtime

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "examples" / "language_model" / "bert" / "run_glue.py"
SENTENCES = (
    "a warm , funny and beautifully acted film that i would watch again tomorrow .",
    "the jokes fall flat , the plot makes no sense , and it never seems to end .",
    "not a bad film at all .",
)
NAMES = ("negative", "positive")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Fine-tune an encoder on sample sentences.")
    parser.add_argument("--encoder", required=True, help="folder of a BERT, or a preset")
    parser.add_argument("--output_dir", required=True, help="where the model and curves go")
    return parser.parse_args()


def command(args: argparse.Namespace, output_dir: Path) -> list[str]:
    """The README's command, with the sample data."""
    flags = {
        "model_type": "bert",
        "model_name_or_path": args.encoder,
        "task_name": "SST-2",
        "data_dir": ROOT / "data" / "glue",
        "max_seq_length": 128,
        "batch_size": 32,
        "learning_rate": 5e-5,
        "num_train_epochs": 2,
        "warmup_proportion": 0.1,
        "group_by_length": True,
        "logging_steps": 25,
        "save_steps": 125,
        "keep_checkpoints": 1,
        "output_dir": output_dir,
        "n_gpu": 1,
    }
    shown = [part for name, value in flags.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-u", str(SCRIPT), *shown]


def classify(folder: Path) -> None:
    """Load the saved model and print what it says of three sentences."""
    runtime.tune()
    runtime.import_paddle()
    import paddle

    from paddlenlp_ext.transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    with paddle.no_grad():
        logits = model(**tokenizer(list(SENTENCES), padding=True, return_tensors="pd")).logits
    probabilities = paddle.nn.functional.softmax(logits).numpy()
    for sentence, row in zip(SENTENCES, probabilities, strict=True):
        print(f"  {NAMES[row.argmax()]} ({row.max():.0%}): {sentence}")


def main() -> None:
    """Train, show, use."""
    args = parse_args()
    # A folder of its own for every call, so that calling it again is no second run in one folder.
    output_dir = Path(args.output_dir) / time.strftime("%Y%m%d-%H%M%S")
    started = time.monotonic()
    code = subprocess.run(command(args, output_dir), check=False).returncode
    if code:
        sys.exit(code)
    seconds = time.monotonic() - started
    result = json.loads((output_dir / "results.jsonl").read_text().splitlines()[-1])
    folder = output_dir / (output_dir / "latest").read_text().strip()
    print(f"\ntraining took {seconds:.0f} s")
    print(f"dev accuracy: {result['metrics']['acc']:.4f} of {result['examples']} sentences")
    print(f"model: {folder}")
    print(f"curves: {output_dir / 'curves.png'}")
    print("three sentences:")
    classify(folder)


if __name__ == "__main__":
    main()
