"""Run PaddleNLP's own Taskflow code for information extraction, with made-up probabilities.

python taskflow_jobs.py jobs.json

In PaddleNLP's own environment; `test_taskflow.py` starts it and imports `made_up`.
"""

import json
import sys
from pathlib import Path

import numpy as np


def made_up(ids: np.ndarray, special: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Make up probabilities that depend on ids and places, one of six above a half.

    Nothing begins or ends at special tokens, nor in a prompt, but where there are options: then
    one of them is chosen, and nothing of the text.

    Args:
        ids: Rows of prompt and text; int64 [B, L].
        special: Ids of "[CLS]", "[SEP]", "[PAD]", "[", "]" and ",".

    Returns:
        Probabilities to begin and to end; float64 [B, L] each.
    """
    places = np.arange(ids.shape[1])
    start = (ids * 7919 + places * 104729) % 1009 / 1009 * 0.6
    end = (ids * 6007 + places * 15485863) % 1013 / 1013 * 0.6
    for row, numbers in enumerate(ids):
        text = numbers.tolist().index(special["[SEP]"])
        no_place = np.isin(numbers, list(special.values())) | (places < text)
        options = np.flatnonzero(numbers[:text] == special["["])
        if len(options):
            inside = np.flatnonzero(~np.isin(numbers, list(special.values())) & (places < text))
            inside = inside[inside > options[-1]]
            no_place = places != inside[numbers[:text].sum() % len(inside)]
            start[row] = end[row] = 0.8
        start[row, no_place] = end[row, no_place] = 0.0
    return start, end


class MadeUp:
    """Stands for the ONNX session that Taskflow runs a model in."""

    def __init__(self, special: dict[str, int]) -> None:
        self.special = special

    def run(self, _: None, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Return what the session would."""
        return made_up(inputs["input_ids"], self.special)


def main() -> None:
    """Answer every job and write all results beside the jobs."""
    import paddlenlp.transformers
    from paddlenlp.taskflow.information_extraction import UIETask

    answers = []
    for job in json.loads(Path(sys.argv[1]).read_text("utf-8")):
        task = UIETask.__new__(UIETask)
        task.predictor = MadeUp(job["special"])
        task.set_schema(job["schema"])
        settings = {
            "predictor_type": "onnxruntime",
            "init_class": job["model"],
            "tokenizer": getattr(paddlenlp.transformers, job["tokenizer"]).from_pretrained(
                job["folder"]
            ),
            "is_en": job["english"],
            "max_seq_len": 512,
            "summary_token_num": 3,
            "position_prob": 0.5,
            "batch_size": 16,
            "split_sentence": False,
            "dynamic_max_length": None,
            "lazy_load": False,
            "num_workers": 0,
        }
        task.set_argument(settings)
        texts = task._parse_inputs(job["texts"])
        answers.append(task._multi_stage_predict(texts))
    Path(sys.argv[1]).with_name("answers.json").write_text(json.dumps(answers), "utf-8")


if __name__ == "__main__":
    main()
