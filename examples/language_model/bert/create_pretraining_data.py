"""Make pretraining data for BERT of plain text: a sentence a line, an empty line after a document.

    python -u examples/language_model/bert/create_pretraining_data.py \
        --input_file data/pretraining/sample_text.txt \
        --output_file data/pretraining/training_data.hdf5 --bert_model bert-base-uncased

The result is in the layout of NVIDIA's scripts, which `run_pretrain.py` reads.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from paddlenlp_ext.cli import parsing, program
from paddlenlp_ext.process import signals
from paddlenlp_ext.process.streams import progress_bar

if TYPE_CHECKING:
    from paddlenlp_ext.pretraining.creation import Created
    from paddlenlp_ext.tokenizers.base import Tokenizer


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the flags of the original script first."""
    parser = parsing.Parser(description="Make pretraining data for BERT of plain text.")
    add = parser.add_argument
    add("--input_file", required=True, help="a text file, or a folder with *.txt files")
    add("--output_file", required=True, help="HDF5 file; its name should hold 'train', or not")
    add("--vocab_file", help="vocabulary, a token a line; wins over --bert_model")
    add("--bert_model", default="bert-base-uncased", help="preset or folder with a vocabulary")
    case = parser.add_mutually_exclusive_group()
    case.add_argument(
        "--do_lower_case",
        action="store_true",
        default=None,
        help="lower-case the text; the default with --vocab_file, else as --bert_model does",
    )
    case.add_argument(
        "--no_lower_case", dest="do_lower_case", action="store_false", help="keep capitals"
    )
    add("--max_seq_length", type=parsing.positive_int, default=128, help="tokens of a row")
    add("--dupe_factor", type=parsing.positive_int, default=10, help="rounds through the corpus")
    add(
        "--max_predictions_per_seq", type=parsing.positive_int, default=20, help="of a row, at most"
    )
    add(
        "--masked_lm_prob",
        type=parsing.probability,
        default=0.15,
        help="part of the tokens to mask",
    )
    add(
        "--short_seq_prob",
        type=parsing.probability,
        default=0.1,
        help="part of the rows to be shorter",
    )
    add("--random_seed", type=parsing.non_negative_int, default=12345, help="decides every choice")
    more = parser.add_argument_group("further", "what the original script does not have")
    more.add_argument(
        "--whole_word_masking", action="store_true", help="mask all pieces of a word, or none"
    )
    more.add_argument(
        "--no_next_sentence",
        action="store_true",
        help="make single texts, for masked tokens alone, instead of pairs",
    )
    more.add_argument(
        "--num_shards", type=parsing.positive_int, default=1, help="files to divide the rows among"
    )
    more.add_argument(
        "--processes", type=parsing.positive_int, default=1, help="does not change the result"
    )
    more.add_argument(
        "--block_bytes",
        type=parsing.positive_int,
        default=2 * 1024 * 1024,
        help="text that is in memory at once, in each process; random sentences come from it",
    )
    args = parser.parse_args(argv)
    for flag in ("input_file", "output_file", "vocab_file", "bert_model"):
        if vars(args)[flag] == "":
            parser.error(f"--{flag}: expected a path, got nothing")
    if args.max_seq_length < 5:
        parser.error("--max_seq_length: expected at least 5: three special tokens and two texts")
    return args


def main(argv: Sequence[str] | None = None) -> Created:
    """Make the data as the command line says."""
    args = parse_args(argv)
    from paddlenlp_ext.pretraining.corpus import corpus_files
    from paddlenlp_ext.pretraining.creation import create_shards
    from paddlenlp_ext.pretraining.instances import InstanceSettings

    files = corpus_files(args.input_file)
    settings = InstanceSettings(
        max_seq_length=args.max_seq_length,
        max_predictions_per_seq=args.max_predictions_per_seq,
        masked_lm_prob=args.masked_lm_prob,
        short_seq_prob=args.short_seq_prob,
        dupe_factor=args.dupe_factor,
        whole_word_masking=args.whole_word_masking,
        next_sentence=not args.no_next_sentence,
        random_seed=args.random_seed,
    )
    total = sum(file.stat().st_size for file in files)
    with progress_bar(total, desc=args.input_file, unit="B", unit_scale=True) as bar:

        def advance(size: int) -> None:
            signals.raise_pending()
            bar.update(size)

        created = create_shards(
            files,
            load_tokenizer(args),
            args.output_file,
            settings,
            num_shards=args.num_shards,
            processes=args.processes,
            block_bytes=args.block_bytes,
            on_progress=advance,
        )
    names = f"{created.paths[0]}" + (f" ... {created.paths[-1]}" if args.num_shards > 1 else "")
    print(
        f"{names}: {created.instances} instances, {created.tokens} tokens, {created.masked} masked "
        f"({created.masked / created.tokens:.2%}), {created.random_next} random next sentences"
    )
    return created


def load_tokenizer(args: argparse.Namespace) -> Tokenizer:
    """Take the vocabulary that the command line names."""
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.tokenizers.bert import BertTokenizer

    if args.vocab_file is not None:
        return BertTokenizer(args.vocab_file, args.do_lower_case is not False)
    case = {} if args.do_lower_case is None else {"do_lower_case": args.do_lower_case}
    return AutoTokenizer.from_pretrained(args.bert_model, **case)


if __name__ == "__main__":
    program.run(main)
