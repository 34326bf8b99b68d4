"""Run models of PaddleNLP; started by `paddlenlp_reference.py` in PaddleNLP's own environment.

python paddlenlp_jobs.py jobs.json
"""

import json
import sys
from pathlib import Path

import numpy as np
import paddle
import paddlenlp.transformers
from paddlenlp.transformers.rembert import modeling as rembert

# Its attention hands on states and weights as one, where its own next layer expects the states.
_attend = rembert.RemBertSelfAttention.forward
rembert.RemBertSelfAttention.forward = lambda *inputs: _attend(*inputs)[0]

jobs = json.loads(Path(sys.argv[1]).read_text())
random = np.random.default_rng(11)


def randomize(model: paddle.nn.Layer) -> None:
    """Give every parameter random numbers, but the padding token's row, which must stay zero."""
    for name, parameter in model.named_parameters():
        mean = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        values = random.normal(mean, 0.1, parameter.shape)
        if name.endswith("word_embeddings.weight"):
            values[model.config.pad_token_id] = 0.0
        parameter.set_value(values.astype("float32"))


def tensors(output: object) -> list[np.ndarray]:
    """Return all tensors of an output, in order."""
    if isinstance(output, paddle.Tensor):
        return [output.numpy()]
    return [array for part in output for array in tensors(part)]


for job in jobs:
    model_class = getattr(paddlenlp.transformers, job["class"])
    if job["config"] is not None:
        model = model_class(model_class.config_class(**job["config"]))
        randomize(model)
        model.save_pretrained(job["folder"])
    else:
        model = model_class.from_pretrained(job["folder"], **job["overrides"])
    model.eval()
    part = getattr(model, job["part"]) if job["part"] else model
    batch = {name: paddle.to_tensor(rows) for name, rows in np.load(job["inputs"]).items()}
    if "past_key_values" in batch:  # [layers, 2, B, A, P, D]
        batch["past_key_values"] = [tuple(layer) for layer in batch["past_key_values"]]
        batch["use_cache"] = True
    with paddle.no_grad():
        np.savez(job["outputs"], *tensors(part(**batch)))
