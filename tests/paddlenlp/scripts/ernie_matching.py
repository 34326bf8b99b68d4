"""Pairs by two towers, a class of the user's own: `ernie_matching.py MODEL OUTPUT`."""

import json
import sys

import numpy as np
import paddle
from paddle import nn
from paddle.io import BatchSampler, DataLoader
from paddlenlp.data import DataCollatorWithPadding
from paddlenlp.datasets import MapDataset
from paddlenlp.transformers import AutoTokenizer, ConstScheduleWithWarmup, ErnieModel
from paddlenlp.transformers.ernie.modeling import ErniePretrainedModel

PAIRS = [
    ("a good film", "the film is good", 1),
    ("bad", "it is a good one", 0),
    ("the end is bad", "a bad end", 1),
    ("good", "the end of it", 0),
]


class SentenceTransformer(ErniePretrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.ernie = ErnieModel(config)
        self.dropout = nn.Dropout(0.0)
        self.classifier = nn.Linear(config.hidden_size * 3, 2)

    def pool(self, input_ids, token_type_ids):
        sequence_output, _ = self.ernie(input_ids, token_type_ids)
        mask = (input_ids != self.ernie.config.pad_token_id).astype("float32").unsqueeze(2)
        return (sequence_output * mask).sum(1) / mask.sum(1)

    def forward(self, query, title):
        query, title = self.pool(**query), self.pool(**title)
        return self.classifier(
            self.dropout(paddle.concat([query, title, (query - title).abs()], axis=-1))
        )


def main(model_name_or_path, output_dir):
    paddle.set_device("cpu")
    tokenizer = AutoTokenizer.from_pretrained(model_name_or_path)
    dataset = MapDataset([dict(zip(("query", "title", "label"), row)) for row in PAIRS])
    dataset = dataset.filter(lambda example: example["query"] != "")
    pad = DataCollatorWithPadding(tokenizer)

    def collate(examples):
        sides = [
            pad([dict(tokenizer(example[side], max_seq_len=9)) for example in examples])
            for side in ("query", "title")
        ]
        return *sides, np.array([[example["label"]] for example in examples])

    sampler = BatchSampler(dataset, batch_size=2, shuffle=False)
    loader = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate)
    model = SentenceTransformer.from_pretrained(model_name_or_path)
    state = model.state_dict()  # what is new is the same wherever this runs
    shape = state["classifier.weight"].shape
    weight = np.sin(np.arange(np.prod(shape))).reshape(shape).astype("float32")
    model.set_dict({**state, "classifier.weight": paddle.to_tensor(weight)})
    scheduler = ConstScheduleWithWarmup(2e-3, warmup=2)
    optimizer = paddle.optimizer.AdamW(scheduler, parameters=model.parameters())
    criterion = nn.CrossEntropyLoss()
    losses = []
    for _ in range(3):
        for query, title, labels in loader:
            names = ("input_ids", "token_type_ids")
            logits = model(*({name: side[name] for name in names} for side in (query, title)))
            loss = criterion(logits, labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.clear_grad()
            losses.append(float(loss))
    paddle.save(model.state_dict(), f"{output_dir}/model_state.pdparams")
    again = SentenceTransformer(model.config)
    again.set_dict(paddle.load(f"{output_dir}/model_state.pdparams"))
    pairs = zip(model.state_dict().values(), again.state_dict().values())
    assert all(bool(paddle.equal_all(*pair)) for pair in pairs)
    print(json.dumps(losses))


if __name__ == "__main__":
    main(*sys.argv[1:])
