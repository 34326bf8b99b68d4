"""Injections that the project's tests make: they are run, and what they inject is counted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from xml.etree import ElementTree

from tests.faults.table import Fault, Measured, Scale, all_of, joined
from tests.field.test_shards import mutated, read_all
from tests.scripts.test_bert_run_glue import ROOT


@dataclass(frozen=True)
class Suite:
    """Tests that inject a kind of fault; all must pass.

    A test counts as one injection, or as many as it has recorded.
    """

    tests: tuple[str, ...]
    what: str  # becomes of an injection if all is well

    def __call__(self, scale: Scale) -> Measured:
        """Run the tests."""
        report = scale.folder / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-x", f"--junitxml={report}"]
        done = subprocess.run(
            [*command, *(f"tests/{one}" for one in self.tests)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        if not report.exists():
            return Measured(done.stdout[-300:], False)
        passed = total = skipped = 0
        for case in ElementTree.parse(report).iter("testcase"):
            if list(case.iter("skipped")):
                skipped += 1
                continue
            recorded = [p.get("value", "1") for p in case.iter("property")]
            count = int(recorded[0]) if recorded else 1
            total += count
            passed += count * (not list(case.iter("failure")) and not list(case.iter("error")))
        measured = all_of(passed, total, self.what)
        left_out = f"; {skipped} left out, what they need is not installed" if skipped else ""
        good = bool(measured.met) and done.returncode == 0
        return Measured(measured.text + left_out, good)


CHECKPOINT, FINETUNE, PROCESSES, DOWNLOAD, HUB, SHARDS = (
    "training/test_checkpoint.py::test",
    "training/test_finetune.py::test",
    "training/test_processes.py::test",
    "files/test_download.py::test",
    "files/test_sources.py::test",
    "pretraining/test_shards.py::test",
)

MALFORMED_SHARDS = Suite(
    (
        f"{SHARDS}_bad_rows_are_named",
        f"{SHARDS}_a_masked_place_in_the_padding_is_named",
        f"{SHARDS}_other_layouts_are_refused",
        f"{SHARDS}_truncated_files_are_named",
        f"{SHARDS}_damage_within_is_named_when_it_is_read",
        f"{SHARDS}_a_file_that_shrinks_meanwhile_is_named",
        f"{SHARDS}_empty_folders_are_named",
        f"{SHARDS}_shards_must_fit_the_model",
        "field/test_shards.py",
    ),
    "named",
)


def exported_programs(scale: Scale) -> Measured:
    """Run exported programs; in the short form not those of every class."""
    agree = Suite(("inference/test_export.py",), "programs agree")(scale)
    programs = "field/test_exported_programs.py::test"
    tests = [f"{programs}_an_exported_decoder_sees_no_later_token"]
    tests += [] if scale.short else [f"{programs}_programs_compute_what_models_do"]
    return joined(agree, Suite(tuple(tests), "of other classes agree")(scale))


def mutated_shards(scale: Scale) -> Measured:
    """Read the sample shard with bytes changed at random."""
    count = scale.of(4000, 200)
    path = scale.folder / "train.hdf5"
    good, slowest = 0, 0.0
    for seed in range(count):
        mutated(path, seed)
        began = time.monotonic()
        said = read_all(path)
        slowest = max(slowest, time.monotonic() - began)
        good += said == "" or (said.startswith(f"{path}: ") and said.isprintable())
    return joined(
        all_of(good, count, "changed ones end in rows or one line"),
        Measured(f"slowest {slowest:.1f} s", slowest < 5),
    )


FAULTS = (
    Fault(
        5,
        "continuing with another batch size, other data, other weights, another number of "
        "processes or version",
        "settings, data and weights are refused with both values; the environment is a warning",
        Suite(
            (
                f"{CHECKPOINT}_other_settings_are_refused_with_both_values",
                f"{CHECKPOINT}_other_data_are_refused_with_both_digests",
                f"{CHECKPOINT}_refuses_weights_and_states_of_another_model",
                f"{CHECKPOINT}_another_number_of_processes_is_a_warning",
                f"{CHECKPOINT}_another_version_is_a_warning_with_both",
            ),
            "by the rule",
        ),
    ),
    Fault(
        9,
        "a loss that is not finite, on one process of two and on one alone; a gradient, weights "
        "and an evaluation that are not",
        "all stop, or skip, before the update; weights as they were; step, rank and row named; "
        "no checkpoint of it, no NaN in JSON; an end where hardly anything but skipping happens",
        Suite(
            (
                f"{FINETUNE}_a_loss_that_is_not_finite_names_its_row_and_leaves_the_weights",
                f"{FINETUNE}_an_update_whose_loss_is_not_finite_can_be_skipped",
                f"{PROCESSES}_a_loss_that_is_not_finite_stops_all_processes_before_the_update",
                "field/test_numbers_not_finite.py",
            ),
            "as wanted",
        ),
    ),
    Fault(
        12,
        "malformed HDF5 shards: columns missing, of other types, links, in other files, ids "
        "outside the vocabulary, cut files, damaged contents; one to eight bytes changed at random",
        "all named by file, or file and row; rows or one line within 5 s",
        lambda scale: joined(MALFORMED_SHARDS(scale), mutated_shards(scale)),
    ),
    Fault(
        14,
        "1 to 40 rows evaluated by 1, 2 and 3 ranks in batches of 1, 3 and 8, classes and scores",
        "metrics and loss equal those of one process to the bit",
        Suite(("training/test_evaluation.py",), "exact"),
    ),
    Fault(
        15,
        "rows with 0 to 9 labels each as one batch, accumulated, and on two processes; and each "
        "batch divided by its own labels, which must be found out",
        "gradients within 1e-6 (relative norm), whole runs to rounding; a mean of means is not",
        Suite(
            (
                "training/test_gradients.py",
                f"{FINETUNE}_accumulated_batches_are_one_batch",
                f"{PROCESSES}_two_processes_are_one",
            ),
            "as they should be",
        ),
    ),
    Fault(
        17,
        "archives with paths that lead out, links, devices, bombs, doubled and damaged members",
        "nothing written but what was asked for; each named",
        Suite(("tasks/test_archives.py",), "refused or left alone"),
    ),
    Fault(
        18,
        "downloads that are cut, stalled, wrong, refused, endless, redirected; full disks",
        "never a wrong file in the cache; transfers go on where they were; the cure is named",
        Suite(("files/test_download.py", "tasks/test_download.py"), "as wanted"),
    ),
    Fault(
        20,
        "8 processes on one empty cache; the one that downloads is killed",
        "one download, all succeed, the lock is free again",
        Suite(
            (
                f"{DOWNLOAD}_eight_processes_download_once",
                f"{HUB}_eight_processes_download_once",
                f"{DOWNLOAD}_the_lock_of_a_killed_process_is_free_and_its_part_is_used",
            ),
            "with one download",
        ),
    ),
    Fault(
        24,
        "exported programs run by paddle.jit.load, Paddle Inference and ONNX Runtime, with inputs "
        "of three sizes; those of every class with a head, and decoders whose last token changes",
        "within 1e-5 of the model; nothing installed or downloaded meanwhile",
        exported_programs,
    ),
    Fault(
        26,
        "two runs in one output folder",
        "the second is refused with the first's process and machine",
        Suite((f"{CHECKPOINT}_a_second_run_in_the_folder_is_refused",), "refused"),
    ),
    Fault(
        28,
        "servers with any tag, commit, name, redirection, length, header or body, endless or slow; "
        "manifests and refs that lead out; links and foreign files in caches and at temporary "
        "names; caches that others can write to; the user's hidden folders and checkpoints",
        "nothing outside its folder is read, written, renamed or deleted, nor anything that is not "
        "provably its own; one line, within seconds",
        Suite(
            (
                "field/test_servers.py",
                "field/test_private_caches.py",
                "field/test_temporary_names.py",
                "field/test_ownership.py",
            ),
            "by the rule",
        ),
    ),
    Fault(
        31,
        "configs, vocabularies, tokenizers' files, indexes, headers and tables that are FIFOs or "
        "devices, of gigabytes, of millions of values, or no JSON; control characters and "
        "megabytes in what messages quote",
        "refused in one printable line of at most 300 characters, within 2 s and 200 MB",
        Suite(("field/test_foreign_files.py", "field/test_messages.py"), "refused, or read as is"),
    ),
    Fault(
        32,
        "weight files of each format with changed bytes, doubled tensors, storages of two types "
        "or sizes, whole numbers as weights; with entries that no model needs",
        "damage is named; the other tensors are read",
        Suite(("field/test_weight_files.py",), "as wanted"),
    ),
    Fault(
        33,
        "a run continued with its batch divided otherwise among processes and accumulated batches, "
        "with paths and names spelled otherwise, with another product or length; runs one after "
        "another in one folder, with foreign manifests, histories and results in it",
        "the same updates and learning rates, losses within 1e-4; others are refused with both "
        "values; histories are kept, the last run is continued, foreign files are a warning",
        Suite(("field/test_run_identity.py", "field/test_output_folders.py"), "by the rule"),
    ),
    Fault(
        34,
        "stdout, stderr, history, results and curves that cannot be written; names of folders that "
        "are not UTF-8; an ASCII terminal",
        "all checkpoints are saved, with exit code 0",
        Suite(("field/test_reporting.py",), "saved"),
    ),
)
