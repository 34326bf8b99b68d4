"""What is measured: sections of cases, each a row of jobs that take turns. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.jobs import NEW_WORDS, SENTENCES, Batches, Job

OURS = "ours"
WHOLE = "ours, all positions"  # of the last layer, as all others compute them
TUNED = "transformers"
INSTALLED = "transformers, as installed"
# Rows of a word table that a multilingual task trains: of the 250,002 tokens of ERNIE-M's
# vocabulary, 52,227 occur in 22,980 pairs of XNLI in its fifteen languages.
XNLI_TOKENS = 52_000

Unit = Literal["s", "sentences/s", "texts/s"]


@dataclass(frozen=True)
class Case:
    """Jobs that take turns, round after round.

    Attributes:
        name: Of the row in the table.
        jobs: By the name of the side.
        compared: Sides that are compared with each of the others; ours if empty, or the first one.
        unit: What is told of a side: the seconds of a pass, or rows a second.
        rounds: How often all take their turn.
    """

    name: str
    jobs: Mapping[str, Job]
    compared: tuple[str, ...] = ()
    unit: Unit = "s"
    rounds: int = 3

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The sides of each comparison."""
        ours = tuple(side for side in (OURS, WHOLE) if side in self.jobs)
        compared = self.compared or ours or tuple(self.jobs)[:1]
        return [(one, other) for one in compared for other in self.jobs if other not in compared]


@dataclass(frozen=True)
class Section:
    """Cases that share a table.

    Attributes:
        minutes: That it takes on two quiet cores, about.
        on_request: Whether it is left out unless it is asked for by name.
        cases: Its rows.
        tables: What is made of them: ratios of time, of memory, or the share of the floor.
    """

    minutes: float
    cases: tuple[Case, ...]
    tables: tuple[Literal["time", "memory", "floor"], ...] = ("time",)
    on_request: bool = False


def ours(job: Job) -> dict[str, Job]:
    """Measure a job with and without what we alone leave out of it."""
    return {OURS: job, WHOLE: replace(job, all_positions=True)}


def beside_transformers(job: Job) -> dict[str, Job]:
    """Compare a job with transformers, tuned as we are and as installed."""
    theirs = replace(job, package="transformers")
    return ours(job) | {TUNED: theirs, INSTALLED: replace(theirs, tuned=False)}


def training_step() -> Case:
    """The step on which the goals stand."""
    job = Job(shape="bert-base-4", passes=4)
    theirs = replace(job, package="paddlenlp", passes=3)
    return Case(
        "BERT-base's width, 4 layers, 16 x 128",
        {
            **beside_transformers(job),
            "PaddleNLP": theirs,
            "PaddleNLP, as installed": replace(theirs, tuned=False, passes=1),
        },
    )


def compiled_step() -> Case:
    """The same step with `torch.compile`, whose compiler takes its time before the first step."""
    jobs = training_step().jobs
    compiled = replace(jobs[TUNED], compiled=True)
    return Case(training_step().name, ours(jobs[OURS]) | {"transformers, compiled": compiled})


def sst2(name: str, shape: str, grouped: int, padded: int, shuffled: int = 0) -> Case:
    """Train on SST-2's sentences; the counts are batches of each kind."""
    job = Job(shape=shape, passes=1, batches=Batches("grouped", 32, 128, grouped))
    theirs = replace(job, package="transformers")
    installed = replace(theirs, tuned=False)
    sides = {
        **ours(job),
        "transformers, grouped": theirs,
        "transformers, run_glue's defaults": replace(
            installed, batches=Batches("padded", 32, 128, padded)
        ),
    }
    if shuffled:
        sides["transformers, grouped, as installed"] = installed
        sides["transformers, padded to the longest"] = replace(
            theirs, batches=Batches("shuffled", 32, 128, shuffled)
        )
    return Case(name, sides, unit="sentences/s")


def large_vocabulary(name: str, shape: str) -> Case:
    """A published model with 250,000 rows of words, whole and trimmed."""
    job = Job(shape=shape, passes=2, batches=Batches(size=2, length=64, distinct=XNLI_TOKENS))
    trimmed = {f"{side}, trimmed": replace(one, trimmed=True) for side, one in ours(job).items()}
    return Case(
        f"{name}, 2 x 64",
        trimmed | beside_transformers(job),
        compared=(OURS, WHOLE, *trimmed),
    )


def evaluation() -> tuple[Case, ...]:
    """Evaluate, on rows of one length and on sentences."""
    fixed = Job(work="evaluate", shape="bert-base-4", passes=3)
    sentences = replace(fixed, shape="minilm", batches=Batches("grouped", 32, 128, 25))
    padded = replace(
        sentences, package="transformers", tuned=False, batches=Batches("padded", 32, 128, 5)
    )
    defaults = {"transformers, run_glue's defaults": padded}
    return (
        Case(
            "BERT-base's width, 4 layers, 16 x 128", beside_transformers(fixed), unit="sentences/s"
        ),
        Case(
            "SST-2, MiniLM's shape", beside_transformers(sentences) | defaults, unit="sentences/s"
        ),
    )


def convbert(name: str, rows: int) -> Case:
    """A training step of a published ConvBERT."""
    job = Job(shape=name, passes=3, batches=Batches(size=rows))
    return Case(
        f"ConvBERT-{name.removeprefix('convbert-')}, {rows} x 128", beside_transformers(job)
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
    return tuple(
        Case(name, ours(job) | {TUNED: replace(job, package="transformers")})
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
            rounds=5,
        ),
        Case("`run_glue.py --help`", {OURS: command(script, "--help")}, rounds=5),
    )


def floor() -> Case:
    """The fastest that matrices are multiplied."""
    job = Job(work="product", passes=5)
    return Case(
        "matrix product", {OURS: job, TUNED: replace(job, package="transformers")}, rounds=5
    )


SECTIONS: dict[str, Section] = {
    "steps": Section(5, (training_step(),)),
    "compiled": Section(6, (compiled_step(),), on_request=True),
    "sst2": Section(
        7,
        (
            sst2("MiniLM's shape", "minilm", grouped=10, padded=2, shuffled=8),
            sst2("BERT-base's shape", "bert-base", grouped=5, padded=1),
        ),
    ),
    "vocabularies": Section(
        6,
        (
            large_vocabulary("RemBERT", "rembert"),
            large_vocabulary("ERNIE-M-base", "ernie-m-base"),
        ),
        tables=("time", "memory"),
    ),
    "convbert": Section(4, (convbert("convbert-small", 16), convbert("convbert-base", 4))),
    "evaluation": Section(4, evaluation()),
    "tokenization": Section(8, tokenization()),
    "start-up": Section(2, start_up()),
    "scaling": Section(6, (*scaling(), vocabularies(), processes())),
    "floor": Section(1, (floor(),), tables=("floor",)),
}
