"""Untrusted input: any text at all, and weight files that try to run something."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
from paddlenlp_ext.tokenizers.rembert import RemBertTokenizer, RemBertTokenizerFast
from paddlenlp_ext.weights.files import read_weights
from tests.faults.runs import encoder
from tests.faults.table import Fault, Measured, Scale, all_of, joined
from tests.scripts import multilingual
from tests.weights import test_malicious as malicious

# Letters that join, reverse, vanish, or belong to no text; and names of special tokens.
PECULIAR = (
    "\u0301\u0308\u200d\u200c\u202e\u200f\ufeff\xad\x00\x7f\ud800\udfff\U0001f468\U0001f3fd"
    "\U000e0001\uffff٢²ﬁßİıǆ中文字ひカ한ไทहिא\u2028\u3000 \t\n"
)
SPECIAL = ("[CLS]", "[SEP]", "[PAD]", "[MASK]", "[UNK]", "▁", "</s>")
PIECES = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=20),
    st.text(st.sampled_from(PECULIAR), max_size=20),
    st.sampled_from(SPECIAL),
    st.text("abc déf,.", max_size=20),
)
TOGETHER = 50  # texts of one example: drawing them takes longer than tokenizing them


def texts(scale: Scale) -> Measured:
    """Tokenize texts that hypothesis thinks of."""
    count = scale.of(100_000, 2_000)
    folders = {kind: scale.folder / kind for kind in ("rembert", "ernie_m")}
    for folder in folders.values():
        folder.mkdir()
    rembert, ernie_m = (
        multilingual.rembert(folders["rembert"]),
        multilingual.ernie_m(folders["ernie_m"]),
    )
    tokenizers: dict[str, Tokenizer] = {
        "BERT": BertTokenizer.from_pretrained(encoder(scale.folder)),
        "RemBERT": RemBertTokenizer.from_pretrained(rembert),
        "RemBERT fast": RemBertTokenizerFast.from_pretrained(rembert),
        "ERNIE-M": ErnieMTokenizer.from_pretrained(ernie_m),
    }
    return _fuzz(tokenizers, count)


def _fuzz(tokenizers: dict[str, Tokenizer], count: int) -> Measured:
    """Give every tokenizer the same texts, since drawing them takes longer than anything else."""
    done = dict.fromkeys(tokenizers, 0)
    failed: dict[str, str] = {}

    def take(pieces: list[str]) -> None:
        for name, tokenizer in tokenizers.items():
            if name in failed:
                continue
            try:
                _check(tokenizer, pieces)
                done[name] += len(pieces)
            except Exception as error:
                failed[name] = f": {type(error).__name__}: {error}"[:300]

    @settings(
        max_examples=-(-count // TOGETHER),
        phases=[Phase.generate],
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(PIECES, min_size=TOGETHER, max_size=TOGETHER), st.booleans())
    def tokenize(pieces: list[str], long: bool) -> None:
        # Neighbours are joined in some examples, for longer texts of several kinds.
        take(["".join(pieces[at : at + 5]) for at in range(len(pieces))] if long else pieces)

    tokenize()
    take(["ab\u0301 " * 25_000, "中" * 30_000, "x" * 100_000])  # 100 kB each
    return joined(
        *(
            Measured(f"{name} {done[name]:,} texts{failed.get(name, '')}", done[name] >= count)
            for name in tokenizers
        )
    )


def _check(tokenizer: Tokenizer, given_texts: list[str]) -> None:
    encoded: Any = tokenizer(given_texts, return_offsets_mapping=True)
    rows = zip(given_texts, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    for text, ids, offsets in rows:
        assert len(ids) == len(offsets), f"{len(ids)} ids, {len(offsets)} offsets of {text!r}"
        inner = offsets[1:-1]  # without those of the two special tokens
        for start, end in inner:
            assert 0 <= start <= end <= len(text), f"offset {start}, {end} of {text!r}"
        starts = [start for start, _ in inner]
        assert starts == sorted(starts), f"offsets go back in {text!r}"


def attacks(scale: Scale) -> Measured:
    """Read malicious files of all forms; none may leave its mark."""
    forms: tuple[Callable[[Path, bytes], Path], ...] = (
        malicious.write_pdparams,
        malicious.write_in_zip,
        malicious.write_in_legacy,
        malicious.write_as_size_of_the_system,
    )
    refused = executed = count = 0
    slowest = 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    here = Path.cwd()
    os.chdir(scale.folder)
    try:
        for attack in malicious.ATTACKS.values():
            for write in forms:
                path = write(scale.folder, attack)
                began = time.perf_counter()
                try:
                    read_weights(path)
                except WeightsError:
                    refused += 1
                slowest = max(slowest, time.perf_counter() - began)
                executed += Path(malicious.MARK).exists()
                count += 1
    finally:
        os.chdir(here)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return joined(
        Measured(f"{executed} of {count} executed", executed == 0),
        all_of(refused, count, "refused"),
        Measured(f"slowest {slowest * 1000:.0f} ms", slowest < 1),
        Measured(f"{grown:.0f} MB more memory", grown < 200),
    )


FAULTS = (
    Fault(
        13,
        "100,000 texts of any characters, lone surrogates, joiners and special tokens among them, "
        "up to 100 kB",
        "no exception; offsets within the text and never back; as many as ids",
        texts,
    ),
    Fault(
        16,
        "malicious .pdparams and .bin files: programs, dotted names, memo tricks, nested pickles, "
        "shapes of billions, in four forms each",
        "none executed, each refused within 1 s and 200 MB",
        attacks,
    ),
)
