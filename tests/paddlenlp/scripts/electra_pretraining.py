"""Replaced tokens as a script for PaddleNLP trains them: `electra_pretraining.py MODEL OUTPUT`."""

import json
import sys

import numpy as np
import paddle
from paddle.io import BatchSampler, DataLoader
from paddlenlp.data import DataCollatorForLanguageModeling
from paddlenlp.datasets import MapDataset
from paddlenlp.transformers import (
    ElectraConfig,
    ElectraForTotalPretraining,
    ElectraModel,
    ElectraPretrainingCriterion,
    ElectraTokenizer,
    LinearDecayWithWarmup,
)

LINES = ["the film is good", "a bad end", "it is the end of the film", "good"]


def main(model_name_or_path, output_dir):
    paddle.set_device("cpu")
    paddle.seed(3)
    np.random.seed(3)
    tokenizer = ElectraTokenizer.from_pretrained(model_name_or_path)
    config = ElectraConfig.from_pretrained(model_name_or_path)
    config.gen_weight = 1.0
    config.vocab_size = len(tokenizer)
    model = ElectraForTotalPretraining(config)
    criterion = ElectraPretrainingCriterion(config)
    dataset = MapDataset([tokenizer(line, max_seq_len=12) for line in LINES])
    loader = DataLoader(
        dataset,
        batch_sampler=BatchSampler(dataset, batch_size=2),
        collate_fn=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.4),
    )
    scheduler = LinearDecayWithWarmup(2e-3, 8, 2)
    clip = paddle.nn.ClipGradByGlobalNorm(1.0)
    optimizer = paddle.optimizer.AdamW(scheduler, parameters=model.parameters(), grad_clip=clip)
    losses = []
    for _ in range(4):
        for batch in loader:
            gen_logits, logits_rtd, disc_labels, attention_mask = model(
                input_ids=batch["input_ids"], generator_labels=batch["labels"]
            )
            loss = criterion(gen_logits, logits_rtd, batch["labels"], disc_labels, attention_mask)
            loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.clear_grad()
            losses.append(float(loss))
    model.discriminator.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    kept = ElectraModel.from_pretrained(output_dir)
    kept.eval()
    model.eval()
    assert bool(
        paddle.equal_all(kept(batch["input_ids"]), model.discriminator.electra(batch["input_ids"]))
    )
    print(json.dumps(losses))


if __name__ == "__main__":
    main(*sys.argv[1:])
