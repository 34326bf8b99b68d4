"""Entities as a script for PaddleNLP finds them: `ernie_m_tags.py MODEL OUTPUT`."""

import json
import sys

import paddle
import paddlenlp as ppnlp
from paddle.io import BatchSampler, DataLoader

TAGS = ["B-X", "I-X", "O"]
ROWS = [
    ("the quick brown fox", [2, 0, 1, 1]),
    ("the lazy dog was quick", [2, 0, 1, 2, 2]),
    ("a cat said this", [2, 0, 2, 2]),
]


def read(rows):
    for text, tags in rows:
        yield {"tokens": text.split(), "labels": tags}


def main(model_name_or_path, output_dir):
    paddle.set_device("cpu")
    tokenizer = ppnlp.transformers.ErnieMTokenizer.from_pretrained(model_name_or_path)

    def tokenize_and_align_labels(example):
        encoded = tokenizer(
            example["tokens"],
            is_split_into_words=True,
            max_seq_len=16,
            return_attention_mask=True,
        )
        # One piece a word is not needed here: a label for each piece that there is.
        length = len(encoded["input_ids"])
        labels = (example["labels"] + [2] * length)[: length - 2]
        return {**encoded, "labels": [-100, *labels, -100]}

    train_ds = ppnlp.datasets.load_dataset(read, rows=ROWS, lazy=False)
    train_ds = train_ds.map(tokenize_and_align_labels, lazy=False)
    loader = DataLoader(
        train_ds,
        batch_sampler=BatchSampler(train_ds, batch_size=2, shuffle=False),
        collate_fn=ppnlp.data.DataCollatorForTokenClassification(tokenizer),
    )
    model = ppnlp.transformers.ErnieMForTokenClassification.from_pretrained(
        model_name_or_path, num_labels=len(TAGS)
    )
    scheduler = ppnlp.transformers.CosineDecayWithWarmup(3e-3, total_steps=8, warmup=0.25)
    optimizer = paddle.optimizer.AdamW(learning_rate=scheduler, parameters=model.parameters())
    loss_fct = paddle.nn.loss.CrossEntropyLoss(ignore_index=-100)
    metric = ppnlp.metrics.ChunkEvaluator(label_list=TAGS)
    losses = []
    for _ in range(4):
        for batch in loader:
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"])
            loss = loss_fct(logits, batch["labels"])
            loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.clear_grad()
            losses.append(float(loss))
    model.eval()
    for batch in loader:
        found = model(batch["input_ids"], attention_mask=batch["attention_mask"]).argmax(-1)
        lengths = batch["attention_mask"].sum(-1) - 1
        counts = metric.compute(lengths - 1, found[:, 1:], batch["labels"][:, 1:])
        metric.update(*(count.item() for count in counts))
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    again = ppnlp.transformers.AutoModelForTokenClassification.from_pretrained(output_dir)
    again.eval()
    with_mask = {name: batch[name] for name in ("input_ids", "attention_mask")}
    assert bool(paddle.equal_all(model(**with_mask), again(**with_mask)))
    print(json.dumps([*losses, *(float(one) for one in metric.accumulate())]))


if __name__ == "__main__":
    main(*sys.argv[1:])
