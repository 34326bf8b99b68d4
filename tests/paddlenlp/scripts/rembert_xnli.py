"""Pairs in several languages, the older idiom of PaddleNLP: `rembert_xnli.py MODEL OUTPUT`."""

import json
import sys

import paddle
import paddlenlp
from paddlenlp.transformers import LinearDecayWithWarmup

ROWS = [
    ("the quick brown fox jumps", "a fox", 0),
    ("Быстрая лиса", "the lazy dog", 1),
    ("he was quick", "he was not", 2),
    ("今日は", "hello", 1),
]


def main(model_name_or_path, output_dir):
    paddle.set_device("cpu")
    tokenizer = paddlenlp.transformers.RemBertTokenizer.from_pretrained(model_name_or_path)
    bare = paddlenlp.transformers.RemBertModel.from_pretrained(model_name_or_path)
    model = paddlenlp.transformers.RemBertForSequenceClassification(bare, num_classes=3)
    collate = paddlenlp.data.Tuple(
        paddlenlp.data.Pad(pad_val=tokenizer.pad_token_id),
        paddlenlp.data.Pad(pad_val=0),
        paddlenlp.data.Stack(dtype="int64"),
    )
    examples = []
    for premise, hypothesis, label in ROWS:
        encoded = tokenizer(premise, hypothesis, max_seq_len=24)
        examples.append((encoded["input_ids"], encoded["token_type_ids"], label))
    scheduler = LinearDecayWithWarmup(1e-3, 8, 0.1)
    optimizer = paddle.optimizer.AdamW(scheduler, parameters=model.parameters())
    loss_fct = paddle.nn.CrossEntropyLoss()
    metric = paddlenlp.metrics.AccuracyAndF1()
    losses = []
    for _ in range(4):
        for begin in (0, 2):
            batch = map(paddle.to_tensor, collate(examples[begin : begin + 2]))
            input_ids, token_type_ids, labels = batch
            logits = model(input_ids, token_type_ids)
            loss = loss_fct(logits, labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.clear_grad()
            losses.append(float(loss))
            metric.update(metric.compute(logits[:, :2], labels.clip(max=1)))
    assert len(metric.accumulate()) == 5
    model.eval()
    logits = model(input_ids, token_type_ids)
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    again = paddlenlp.transformers.AutoModelForSequenceClassification.from_pretrained(output_dir)
    again.eval()
    assert bool(paddle.equal_all(logits, again(input_ids, token_type_ids)))
    print(json.dumps(losses))


if __name__ == "__main__":
    main(*sys.argv[1:])
