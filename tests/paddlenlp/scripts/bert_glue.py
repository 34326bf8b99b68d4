"""SST-2 as a script for PaddleNLP does it: `bert_glue.py MODEL DATA OUTPUT`."""

import json
import sys
from functools import partial

import paddle
from paddle.io import DataLoader, DistributedBatchSampler
from paddle.metric import Accuracy
from paddlenlp.data import Pad, Stack, Tuple
from paddlenlp.datasets import load_dataset
from paddlenlp.transformers import (
    BertForSequenceClassification,
    BertTokenizer,
    LinearDecayWithWarmup,
)


def convert_example(example, tokenizer, max_seq_length=128, is_test=False):
    encoded = tokenizer(text=example["sentence"], max_seq_len=max_seq_length)
    if is_test:
        return encoded["input_ids"], encoded["token_type_ids"]
    return encoded["input_ids"], encoded["token_type_ids"], [int(example["labels"])]


@paddle.no_grad()
def evaluate(model, metric, data_loader):
    model.eval()
    metric.reset()
    for input_ids, segment_ids, labels in data_loader:
        logits = model(input_ids, segment_ids)
        correct = metric.compute(logits, labels)
        metric.update(correct)
    model.train()
    return metric.accumulate()


def do_train(model_name_or_path, data_dir, output_dir):
    paddle.set_device("cpu")
    paddle.seed(42)
    tokenizer = BertTokenizer.from_pretrained(model_name_or_path)
    train_ds, dev_ds = load_dataset(
        "glue",
        "sst-2",
        data_files=[f"{data_dir}/train.tsv", f"{data_dir}/dev.tsv"],
        splits=["train", "dev"],
    )
    trans_func = partial(convert_example, tokenizer=tokenizer, max_seq_length=24)
    num_classes = len(train_ds.label_list)
    train_ds = train_ds.map(trans_func, lazy=True)
    dev_ds = dev_ds.map(trans_func)
    batchify_fn = Tuple(
        Pad(axis=0, pad_val=tokenizer.pad_token_id),
        Pad(axis=0, pad_val=tokenizer.pad_token_type_id),
        Stack(dtype="int64"),
    )
    loaders = [
        DataLoader(
            dataset=dataset,
            batch_sampler=DistributedBatchSampler(dataset, batch_size=8, shuffle=False),
            collate_fn=batchify_fn,
            num_workers=0,
            return_list=True,
        )
        for dataset in (train_ds, dev_ds)
    ]
    model = BertForSequenceClassification.from_pretrained(
        model_name_or_path, num_classes=num_classes
    )
    steps = 6
    lr_scheduler = LinearDecayWithWarmup(5e-3, steps, 0.34)
    decay_params = [
        p.name for n, p in model.named_parameters() if not any(nd in n for nd in ["bias", "norm"])
    ]
    optimizer = paddle.optimizer.AdamW(
        learning_rate=lr_scheduler,
        parameters=model.parameters(),
        weight_decay=0.01,
        apply_decay_param_fun=lambda x: x in decay_params,
        grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0),
    )
    loss_fct = paddle.nn.loss.CrossEntropyLoss()
    losses = []
    for step, (input_ids, segment_ids, labels) in enumerate(loaders[0]):
        if step == steps:
            break
        logits = model(input_ids, segment_ids)
        loss = loss_fct(logits, labels)
        loss.backward()
        optimizer.step()
        lr_scheduler.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    acc = evaluate(model, Accuracy(), loaders[1])
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    again = BertForSequenceClassification.from_pretrained(output_dir)
    assert evaluate(again, Accuracy(), loaders[1]) == acc
    print(json.dumps([*losses, acc]))


if __name__ == "__main__":
    do_train(*sys.argv[1:])
