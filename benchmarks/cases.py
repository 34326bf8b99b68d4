"""What is measured: sections of cases, each a row of jobs that take turns. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from benchmarks.jobs import NEW_WORDS, SENTENCES, Batches, Job

OURS = "ours"
# What the sides of a library differ in: the fields of their jobs. "ours" is what a user gets who
# asks for nothing: kernels in C, rows without padding, only what is read.
ALL_POSITIONS, BFLOAT16 = {"all_positions": True}, {"dtype": "bfloat16"}
OUR_SIDES: dict[str, dict[str, Any]] = {
    OURS: {},
    "ours, all positions": ALL_POSITIONS,
    "ours, padded": {"padded": True},
    "ours, without kernels": {"kernels": False},
    "ours, bfloat16": BFLOAT16,
    "ours, bfloat16, all positions": BFLOAT16 | ALL_POSITIONS,
}
TUNED = "transformers"
TRANSFORMERS: dict[str, dict[str, Any]] = {
    TUNED: {},
    "transformers, as installed": {"tuned": False},
    "transformers, torch.compile": {"compiled": True},
    "transformers, torch.compile, as installed": {"compiled": True, "tuned": False},
    "transformers, bfloat16": {"dtype": "bfloat16"},
    "transformers, bfloat16, as installed": {"dtype": "bfloat16", "tuned": False},
    "transformers, bfloat16, torch.compile": {"dtype": "bfloat16", "compiled": True},
    "transformers, bfloat16, torch.compile, as installed": {
        "dtype": "bfloat16",
        "compiled": True,
        "tuned": False,
    },
}
ONNX_RUNTIME: dict[str, dict[str, Any]] = {
    "ONNX Runtime": {},
    "ONNX Runtime, as installed": {"tuned": False},
}
# Rows of a word table that a multilingual task trains: of the 250,002 tokens of ERNIE-M's
# vocabulary, 52,227 occur in 22,980 pairs of XNLI in its fifteen languages.
XNLI_TOKENS = 52_000

Table = Literal["time", "memory", "sides", "floor"]
Unit = Literal["s", "ms a sentence", "sentences/s", "texts/s"]


@dataclass(frozen=True)
class Case:
    """Jobs that take turns, round after round.

    Attributes:
        name: Of the row in the table.
        jobs: By the name of the side.
        compared: Sides that are compared with the others; ours if empty, or the first one if all
            are.
        unit: What is told of a side: the seconds of a pass, the time of a row, or rows a second.
        rounds: How often all take their turn.
    """

    name: str
    jobs: Mapping[str, Job]
    compared: tuple[str, ...] = ()
    unit: Unit = "s"
    rounds: int = 3

    @property
    def pairs(self) -> list[tuple[str, tuple[str, ...]]]:
        """Each side that is compared, and the ways to do one other thing that it is compared with.

        What computes in bfloat16 is compared with what does so too.
        """
        own = tuple(side for side, job in self.jobs.items() if job.package == "ours")
        compared = self.compared or (own if len(own) < len(self.jobs) else own[:1])
        others: dict[Job, list[str]] = {}
        for side, job in self.jobs.items():
            if side not in compared:
                same = replace(job, tuned=True, compiled=False, warmup=1, passes=1)
                others.setdefault(same, []).append(side)
        return [
            (one, tuple(sides))
            for one in compared
            for same, sides in others.items()
            if same.dtype == self.jobs[one].dtype
        ]


@dataclass(frozen=True)
class Section:
    """Cases that share a table.

    Attributes:
        minutes: That it takes on two quiet cores, about; more than half of them `torch.compile`'s.
        cases: Its rows.
        tables: What is made of them: ratios of time, of memory, a list of all sides, or the share
            of the floor.
    """

    minutes: float
    cases: tuple[Case, ...]
    tables: tuple[Table, ...] = ("time",)


def sides(job: Job, of: Mapping[str, Mapping[str, Any]], name: str = "") -> dict[str, Job]:
    """Measure a job on all sides of a library; `name` is added to theirs."""
    return {f"{side}{name}": replace(job, **fields) for side, fields in of.items()}


def ours(job: Job) -> dict[str, Job]:
    """Measure a job as it is by default, without one thing that speeds it up, and in bfloat16.

    Rows of one length, and single ones, have no padding that could be left out.
    """
    has_padding = not job.reads_texts and job.batches.kind != "full"
    jobs = sides(job, OUR_SIDES)
    return {side: one for side, one in jobs.items() if has_padding or not one.padded}


def transformers(job: Job, name: str = "") -> dict[str, Job]:
    """Measure a job with transformers, tuned as we are and as installed."""
    return sides(replace(job, package="transformers"), TRANSFORMERS, name)


def onnx_runtime(job: Job) -> dict[str, Job]:
    """Measure a job with ONNX Runtime, which runs our export."""
    return sides(replace(job, package="onnxruntime"), ONNX_RUNTIME)


def training_step() -> Case:
    """The step on which the goals stand."""
    job = Job(shape="bert-base-4", passes=4)
    theirs = replace(job, package="paddlenlp", passes=3)
    return Case(
        "BERT-base's width, 4 layers, 16 x 128",
        {
            **ours(job),
            **transformers(job),
            "PaddleNLP": theirs,
            "PaddleNLP, as installed": replace(theirs, tuned=False, passes=1),
        },
    )


def padded_defaults(job: Job, batches: int) -> dict[str, Job]:
    """What transformers' `run_glue.py` does unless it is told otherwise."""
    given = Batches("padded", 32, 128, batches)
    theirs = replace(job, package="transformers", tuned=False, batches=given)
    return {"transformers, run_glue's defaults": theirs}


def sst2(name: str, shape: str, grouped: int, padded: int, shuffled: int = 0) -> Case:
    """Train on SST-2's sentences; the counts are batches of each kind."""
    job = Job(shape=shape, passes=1, batches=Batches("grouped", 32, 128, grouped))
    jobs = ours(job) | transformers(job, ", grouped") | padded_defaults(job, padded)
    if shuffled:
        longest = replace(job, batches=Batches("shuffled", 32, 128, shuffled))
        jobs |= transformers(longest, ", padded to the longest")
    return Case(name, jobs, unit="sentences/s")


def large_vocabulary(name: str, shape: str) -> Case:
    """A published model with 250,000 rows of words, whole and trimmed."""
    job = Job(shape=shape, passes=2, batches=Batches(size=2, length=64, distinct=XNLI_TOKENS))
    trimmed = {f"{side}, trimmed": replace(one, trimmed=True) for side, one in ours(job).items()}
    return Case(f"{name}, 2 x 64", ours(job) | trimmed | transformers(job))


def evaluation() -> tuple[Case, ...]:
    """Evaluate, on rows of one length and on sentences."""
    fixed = Job(work="evaluate", shape="bert-base-4", passes=3)
    grouped = replace(fixed, shape="minilm", batches=Batches("grouped", 32, 128, 25))
    jobs, on_sentences = (
        ours(job) | transformers(job) | onnx_runtime(job) for job in (fixed, grouped)
    )
    return (
        Case("BERT-base's width, 4 layers, 16 x 128", jobs, unit="sentences/s"),
        Case(
            "SST-2, MiniLM's shape", on_sentences | padded_defaults(grouped, 5), unit="sentences/s"
        ),
    )


def single_sentences(name: str, shape: str) -> Case:
    """Label SST-2's sentences one by one, from the text on."""
    job = Job(work="label", shape=shape, passes=3, texts=SENTENCES)
    jobs = ours(job) | transformers(job) | onnx_runtime(job)
    return Case(name, jobs, unit="ms a sentence")


def convbert(name: str, rows: int) -> Case:
    """A training step of a published ConvBERT."""
    job = Job(shape=name, passes=3, batches=Batches(size=rows))
    return Case(
        f"ConvBERT-{name.removeprefix('convbert-')}, {rows} x 128", ours(job) | transformers(job)
    )


def tokenization() -> tuple[Case, ...]:
    """Tokenize texts, one and two an example."""
    cases = []
    for family, name, peer in (
        ("bert", "BERT", "fast"),
        ("rembert", "RemBERT", "slow"),
        ("rembert_fast", "RemBERT, the fast tokenizer", "fast"),
        ("xlm_r", "XLM-R", "fast"),
        ("ernie_m", "ERNIE-M", "slow"),
    ):
        single = Job(work="tokenize", shape=family, passes=3)
        wanted = {
            "single texts": single,
            "new words": replace(single, texts=NEW_WORDS),
            "one text a call": replace(single, each=True),
        }
        if family == "bert":
            wanted["pairs"] = replace(single, pairs=True)
            wanted["SST-2's sentences"] = replace(single, texts=SENTENCES)
        for what, job in wanted.items():
            jobs = {OURS: job, f"transformers, {peer}": replace(job, package="transformers")}
            cases.append(Case(f"{name}, {what}", jobs, unit="texts/s"))
    return tuple(cases)


def scaling() -> tuple[Case, ...]:
    """One size after another, the rest as it was."""
    base = Job(shape="narrow-4", passes=3)
    points = {
        "batch 4": replace(base, batches=Batches(size=4)),
        "batch 16, length 128, 4 layers": base,
        "batch 64": replace(base, batches=Batches(size=64)),
        "length 512": replace(base, batches=Batches(length=512)),
        "8 layers": replace(base, shape="narrow-8"),
    }
    both = {side: OUR_SIDES[side] for side in (OURS, "ours, without kernels")}
    return tuple(
        Case(name, sides(job, both) | {TUNED: replace(job, package="transformers")})
        for name, job in points.items()
    )


def vocabularies() -> Case:
    """Larger and larger word tables, of which the same number of rows occurs."""
    jobs = {
        f"{rows},000": Job(
            shape=f"narrow-{rows}k", trimmed=True, passes=6, batches=Batches(distinct=20_000)
        )
        for rows in (30, 100, 250)
    }
    return Case(
        "narrow model, 16 x 128",
        {**jobs, "250,000, whole": replace(jobs["250,000"], trimmed=False)},
    )


def processes() -> Case:
    """The same batch on one process and on two."""
    job = Job(shape="bert-base-4", passes=3)
    return Case(
        "BERT-base's width, 4 layers, 16 x 128",
        {"one process": job, "two processes": replace(job, processes=2)},
    )


def command(*words: str, package: Literal["ours", "transformers", "paddlenlp"] = "ours") -> Job:
    """A command of Python."""
    return Job(work="command", package=package, command=words)


def start_up() -> tuple[Case, ...]:
    """How long it takes until something can be done."""
    model = "import BertForSequenceClassification"
    script = "examples/language_model/bert/run_glue.py"
    return (
        Case(
            "`import` of the package",
            {
                "`import paddlenlp_ext`": command("-c", "import paddlenlp_ext"),
                "nothing": command("-c", "pass"),
                "`import transformers`": command("-c", "import transformers"),
                "`import paddle`": command("-c", "import paddle"),
                "`import paddlenlp`": command("-c", "import paddlenlp", package="paddlenlp"),
            },
            compared=("`import paddlenlp_ext`",),
            rounds=5,
        ),
        Case(
            "a model's class",
            {
                OURS: command("-c", f"from paddlenlp_ext.transformers {model}"),
                TUNED: command("-c", f"from transformers {model}"),
                "PaddleNLP": command(
                    "-c", f"from paddlenlp.transformers {model}", package="paddlenlp"
                ),
            },
            compared=(OURS,),
            rounds=5,
        ),
        Case("`run_glue.py --help`", {OURS: command(script, "--help")}, rounds=5),
    )


def floor() -> Case:
    """The fastest that matrices are multiplied."""
    job = Job(work="product", passes=5)
    theirs = replace(job, package="transformers")
    return Case(
        "matrix product",
        {
            OURS: job,
            "ours, without kernels": replace(job, kernels=False),
            "ours, bfloat16": replace(job, dtype="bfloat16"),
            TUNED: theirs,
            "transformers, bfloat16": replace(theirs, dtype="bfloat16"),
        },
        rounds=5,
    )


ALL_SIDES: tuple[Table, ...] = ("time", "sides")
SECTIONS: dict[str, Section] = {
    "steps": Section(20, (training_step(),), tables=ALL_SIDES),
    "sst2": Section(
        60,
        (
            sst2("MiniLM's shape", "minilm", grouped=10, padded=2, shuffled=8),
            sst2("BERT-base's shape", "bert-base", grouped=5, padded=1),
        ),
        tables=ALL_SIDES,
    ),
    "vocabularies": Section(
        65,
        (
            large_vocabulary("RemBERT", "rembert"),
            large_vocabulary("ERNIE-M-base", "ernie-m-base"),
        ),
        tables=("time", "memory", "sides"),
    ),
    "convbert": Section(
        40, (convbert("convbert-small", 16), convbert("convbert-base", 4)), tables=ALL_SIDES
    ),
    "evaluation": Section(30, evaluation(), tables=ALL_SIDES),
    "latency": Section(
        30,
        (
            single_sentences("MiniLM's shape", "minilm"),
            single_sentences("BERT-base's shape", "bert-base"),
        ),
        tables=ALL_SIDES,
    ),
    "tokenization": Section(8, tokenization()),
    "start-up": Section(2, start_up()),
    "scaling": Section(6, (*scaling(), vocabularies(), processes())),
    "floor": Section(1, (floor(),), tables=("floor",)),
}
