"""Make pretraining data in many languages: text by language, and sentences with translations.

    python examples/language_model/multilingual/create_pretraining_data.py \
        --tokenizer_name rembert --text_files corpora/*.txt --parallel_files corpora/*.tsv \
        --output_dir shards/ --segment_words

Names of files tell languages: `wiki.en.txt`; `en-de.tsv` of two columns, or `news.en-de.en` beside
`news.en-de.de`; each may be compressed (.gz). The shards are for `ernie_m/run_pretrain.py` and
`rembert/run_pretrain.py`, which mask them as they read.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext.cli import parsing, program
from paddlenlp_ext.process import signals
from paddlenlp_ext.process.streams import progress_bar

if TYPE_CHECKING:
    from paddlenlp_ext.pretraining.language_creation import Created
    from paddlenlp_ext.pretraining.language_texts import LanguageText


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = parsing.Parser(description="Make pretraining data in many languages.")
    add = parser.add_argument
    add("--tokenizer_name", required=True, help="preset or folder with the vocabulary of the model")
    text = "text in one language, a sentence a line, an empty line after a document: en.txt"
    add("--text_files", nargs="+", help=text)
    pairs = "sentences with their translations: en-de.tsv, or x.en-de.en beside x.en-de.de"
    add("--parallel_files", nargs="+", help=pairs)
    add("--validation_text_files", nargs="+", help="as --text_files; all of it is held out")
    add("--validation_parallel_files", nargs="+", help="as --parallel_files, likewise")
    add("--output_dir", required=True, help="folder of the shards: train.en.hdf5, dev.en-de.hdf5")
    add("--max_seq_length", type=parsing.positive_int, default=128, help="tokens of a row")
    packed = "join sentences that follow one another, for as long as they fit into a row"
    add("--pack_lines", **parsing.SWITCH, help=packed)
    words = "know whole words in Chinese, Japanese, Thai, Lao, Khmer and Burmese, too (needs ICU)"
    add("--segment_words", **parsing.SWITCH, help=words)
    share = "part of the lines of each language and each pair that is held out, at most"
    add("--held_out_share", type=parsing.probability, default=0.02, help=share)
    most = "lines of each that are held out, at most"
    add("--max_held_out", type=parsing.non_negative_int, default=1000, help=most)
    codes = "further codes that the names of files may have, besides those of ISO 639"
    add("--more_languages", nargs="+", default=[], help=codes)
    add("--num_shards", type=parsing.positive_int, default=1, help="files for each training text")
    add("--processes", type=parsing.positive_int, default=1, help="does not change the result")
    add("--seed", type=parsing.non_negative_int, default=42, help="decides what is held out")
    args = parser.parse_args(argv)
    if args.max_seq_length < 8:
        parser.error("--max_seq_length: expected at least 8: four special tokens and two sentences")
    if args.output_dir == "":
        parser.error("--output_dir: expected a path, got nothing")
    return args


def main(argv: Sequence[str] | None = None) -> dict[str, Created]:
    """Make the data as the command line says."""
    args = parse_args(argv)
    from paddlenlp_ext.pretraining.held_out_text import HeldOutSettings
    from paddlenlp_ext.pretraining.language_blocks import CorporaSettings
    from paddlenlp_ext.pretraining.language_creation import create_corpora
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer

    texts = find_all(args)
    settings = CorporaSettings(
        args.max_seq_length,
        args.pack_lines,
        args.segment_words,
        HeldOutSettings(args.held_out_share, args.max_held_out, args.seed),
    )
    total = 2 * sum(path.stat().st_size for text in texts for path in text.paths)
    with progress_bar(total, desc="text", unit="B", unit_scale=True) as bar:

        def advance(size: int) -> None:
            signals.raise_pending()
            bar.update(size)

        created = create_corpora(
            texts,
            AutoTokenizer.from_pretrained(args.tokenizer_name),
            args.output_dir,
            settings,
            num_shards=args.num_shards,
            processes=args.processes,
            on_progress=advance,
        )
    for name, made in created.items():
        print(
            f"{name}: {made.rows['train']} rows to train on, {made.rows['dev']} held out, "
            f"{made.tokens} tokens; {made.known} lines left out for a held-out sentence, "
            f"{made.empty} without a token; {made.cut} pairs cut"
        )
    print(f"the shards are in {Path(args.output_dir)}")
    return created


def find_all(args: argparse.Namespace) -> list[LanguageText]:
    """Find the files that the command line names, and their languages."""
    from paddlenlp_ext.files.patterns import find_files
    from paddlenlp_ext.pretraining.language_files import CODES, find_parallel, find_texts
    from paddlenlp_ext.pretraining.language_texts import language_texts

    known = CODES.union(args.more_languages)
    found: list[LanguageText] = []
    for prefix in ("", "validation_"):
        settings = f"{prefix}text_files", f"{prefix}parallel_files"
        texts, pairs = (find_files(vars(args)[name] or (), name) for name in settings)
        found += language_texts(
            find_texts(texts, known), find_parallel(pairs, known), are_held_out=bool(prefix)
        )
    return found


if __name__ == "__main__":
    program.run(main)
