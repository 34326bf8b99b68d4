"""Answers as a script for PaddleNLP finds them: `convbert_answers.py MODEL OUTPUT`."""

import json
import sys

import paddle
from paddle.io import BatchSampler, DataLoader
from paddlenlp.data import Dict, Pad, Stack
from paddlenlp.datasets import MapDataset
from paddlenlp.transformers import (
    ConvBertForQuestionAnswering,
    ConvBertTokenizer,
    PolyDecayWithWarmup,
)

ROWS = [("what is good", "the film is good", 5, 6), ("what is bad", "the end is bad", 8, 8)] * 2


class CrossEntropyLossForSQuAD(paddle.nn.Layer):
    def forward(self, y, label):
        start_logits, end_logits = y
        start_position, end_position = label
        start_loss = paddle.nn.functional.cross_entropy(start_logits, start_position)
        end_loss = paddle.nn.functional.cross_entropy(end_logits, end_position)
        return (start_loss + end_loss) / 2


def main(model_name_or_path, output_dir):
    paddle.set_device("cpu")
    tokenizer = ConvBertTokenizer.from_pretrained(model_name_or_path)

    def prepare(row):
        question, context, start, end = row
        example = tokenizer(question, context, stride=2, max_seq_len=16)
        example["start_positions"], example["end_positions"] = start, end
        return example

    train_ds = MapDataset(ROWS)
    train_ds.map(prepare)
    collate = Dict(
        {
            "input_ids": Pad(axis=0, pad_val=tokenizer.pad_token_id),
            "token_type_ids": Pad(axis=0, pad_val=tokenizer.pad_token_type_id),
            "start_positions": Stack(dtype="int64"),
            "end_positions": Stack(dtype="int64"),
        }
    )
    train_batchify_fn = lambda samples, fn=collate: fn(samples)
    loader = DataLoader(
        dataset=train_ds,
        batch_sampler=BatchSampler(train_ds, batch_size=2, shuffle=False),
        collate_fn=train_batchify_fn,
        return_list=True,
    )
    model = ConvBertForQuestionAnswering.from_pretrained(model_name_or_path)
    scheduler = PolyDecayWithWarmup(3e-3, 6, 2, lr_end=1e-4, power=2.0)
    optimizer = paddle.optimizer.AdamW(learning_rate=scheduler, parameters=model.parameters())
    criterion = CrossEntropyLossForSQuAD()
    losses = []
    for _ in range(3):
        for input_ids, token_type_ids, start_positions, end_positions in loader:
            logits = model(input_ids=input_ids, token_type_ids=token_type_ids)
            loss = criterion(logits, (start_positions, end_positions))
            loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.clear_grad()
            losses.append(float(loss))
    model.eval()
    start, end = model(input_ids, token_type_ids)
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    again = ConvBertForQuestionAnswering.from_pretrained(output_dir)
    again.eval()
    assert all(map(paddle.equal_all, (start, end), again(input_ids, token_type_ids)))
    print(json.dumps(losses))


if __name__ == "__main__":
    main(*sys.argv[1:])
