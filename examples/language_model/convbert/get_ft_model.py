"""Take the two models out of a pretraining checkpoint, each into a folder of its own.

    python -u examples/language_model/convbert/get_ft_model.py \
        --model_dir ./pretrain/model_10000.pdparams

The discriminator's folder is what `run_glue.py --model_name_or_path` takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from paddlenlp_ext.cli import parsing, program
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process import runtime


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the flags of the original first."""
    parser = parsing.Parser(description="Take the models out of a pretraining checkpoint.")
    add = parser.add_argument
    add("--model_dir", required=True, help="a checkpoint of run_pretrain.py, or of PaddleNLP's")
    add(
        "--generator_output_file",
        default="generator_for_ft.pdparams",
        help="name of the generator's folder",
    )
    add(
        "--discriminator_output_file",
        default="discriminator_for_ft.pdparams",
        help="name of the discriminator's folder",
    )
    add("--output_dir", help="where both folders go; default: --model_dir")
    add("--format", choices=("paddle", "huggingface"), default="paddle", help="whose")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> Path:
    """Write both models as the command line says; return the discriminator's folder."""
    args = parse_args(argv)
    runtime.tune()
    runtime.import_paddle()
    from paddlenlp_ext.models.auto import family_of, model_class
    from paddlenlp_ext.models.generator_discriminator import ForReplacedTokens
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer

    cls = model_class(family_of(args.model_dir), "ForPreTraining")
    if not issubclass(cls, ForReplacedTokens):
        raise UserError(
            f"--model_dir {args.model_dir}: is a {cls.__name__}, with a single model; expected a "
            "checkpoint of examples/language_model/convbert/run_pretrain.py (model_<step>.pdparams)"
        )
    model = cls.from_pretrained(args.model_dir)
    tokenizer = AutoTokenizer.from_pretrained(args.model_dir)
    output = Path(args.output_dir or args.model_dir)
    folders = {
        args.generator_output_file: model.generator,
        args.discriminator_output_file: model.discriminator,
    }
    for name, net in folders.items():
        net.save_pretrained(output / name, format=args.format)
        tokenizer.save_pretrained(output / name)
        print(f"{type(net).__name__}: {output / name}")
    return output / args.discriminator_output_file


if __name__ == "__main__":
    program.run(main)
