"""Every `forward` takes its arguments in PaddleNLP 2.8.1's order for its class."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import paddlenlp_ext.transformers as ours
from tests.models.test_contract import CLASSES, batch_for, build, first
from tests.tiny import tensors

# What `inspect.signature` says of PaddleNLP 2.8.1, RoBERTa's for XLM-RoBERTa; `tokens` are the four
# that nearly all begin with.
WORDS = {
    "tokens": "input_ids token_type_ids position_ids attention_mask",
    "states": "output_hidden_states output_attentions return_dict",
    "swapped": "output_attentions output_hidden_states return_dict",
    "cache": "past_key_values use_cache",
    "span": "start_positions end_positions",
}
ORDERS = {
    "tokens cache states": "BertModel",
    "tokens span states": "BertForQuestionAnswering",
    "tokens labels states": (
        "BertForSequenceClassification BertForTokenClassification BertForMultipleChoice"
    ),
    "tokens masked_positions labels next_sentence_label states": "BertForPretraining",
    "tokens masked_positions labels states": "BertForMaskedLM",
    "tokens task_type_ids past_key_values inputs_embeds use_cache states": "ErnieModel",
    "tokens inputs_embeds labels states": (
        "ErnieForSequenceClassification ErnieForTokenClassification ErnieForMultipleChoice "
        "ConvBertForSequenceClassification ConvBertForTokenClassification "
        "ConvBertForMultipleChoice XLMRobertaForSequenceClassification "
        "XLMRobertaForTokenClassification XLMRobertaForMultipleChoice XLMRobertaForMaskedLM"
    ),
    "tokens inputs_embeds span states": (
        "ErnieForQuestionAnswering ConvBertForQuestionAnswering XLMRobertaForQuestionAnswering"
    ),
    "tokens masked_positions inputs_embeds labels next_sentence_label states": (
        "ErnieForPretraining"
    ),
    "tokens masked_positions inputs_embeds labels states": "ErnieForMaskedLM",
    "tokens inputs_embeds return_dict": "UIE",
    "tokens inputs_embeds": "ElectraDiscriminator ConvBertDiscriminator",
    "input_ids position_ids attention_mask inputs_embeds cache states": "ErnieMModel",
    "input_ids position_ids attention_mask labels inputs_embeds states": (
        "ErnieMForSequenceClassification ErnieMForTokenClassification ErnieMForMultipleChoice"
    ),
    "input_ids position_ids attention_mask span inputs_embeds states": (
        "ErnieMForQuestionAnswering"
    ),
    "input_ids position_ids attention_mask": "UIEM",
    "tokens inputs_embeds cache swapped": "ElectraModel",
    "tokens inputs_embeds labels swapped": (
        "ElectraGenerator ElectraForSequenceClassification ElectraForTokenClassification "
        "ElectraForMultipleChoice ElectraForMaskedLM ConvBertGenerator ConvBertForMaskedLM"
    ),
    "tokens raw_input_ids generator_labels": (
        "ElectraForTotalPretraining ElectraForPretraining ConvBertForTotalPretraining "
        "ConvBertForPretraining"
    ),
    "tokens inputs_embeds span swapped": "ElectraForQuestionAnswering",
    "tokens inputs_embeds states": "ConvBertModel",
    "tokens": (
        "RemBertModel RemBertForSequenceClassification RemBertForQuestionAnswering "
        "RemBertForMaskedLM RemBertForTokenClassification RemBertForMultipleChoice"
    ),
    "tokens past_key_values inputs_embeds use_cache states": "XLMRobertaModel",
    "tokens inputs_embeds cache labels states": "XLMRobertaForCausalLM",
}
ROWS = [(name, order) for order, names in ORDERS.items() for name in names.split()]
BY_PLACE = inspect.Parameter.POSITIONAL_OR_KEYWORD


@pytest.mark.parametrize(("name", "order"), ROWS, ids=[name for name, _ in ROWS])
def test_arguments_are_in_paddlenlp_s_order(name: str, order: str) -> None:
    theirs = " ".join(WORDS.get(word, word) for word in order.split()).split()
    parameters = list(inspect.signature(getattr(ours, name).forward).parameters.values())[1:]
    by_place = [one.name for one in parameters if one.kind is BY_PLACE]
    assert by_place[: len(theirs)] == theirs


@pytest.mark.parametrize(("family", "task"), CLASSES)
def test_signatures_name_their_arguments(family: str, task: str) -> None:
    """So that a trainer which drops other columns keeps these, and `to_static` finds them."""
    model = build(family, task)
    model.eval()
    parameters = inspect.signature(model.forward).parameters
    kinds = {one.kind for one in parameters.values()}
    assert kinds <= {BY_PLACE, inspect.Parameter.KEYWORD_ONLY}
    assert parameters["return_dict"].default is None
    batch = batch_for(model, task)
    assert batch.keys() <= parameters.keys()
    expected = first(model(**tensors(batch)))
    given = [tensors(batch).get(name) for name in [*parameters][:4]]
    np.testing.assert_array_equal(first(model(*given)), expected)


def test_places_of_labels_vectors_and_tasks() -> None:
    bert = build("bert", "ForSequenceClassification")
    batch = tensors(batch_for(bert, "ForSequenceClassification"))
    ids, types, mask = batch.values()
    labels = ids[:, 0] % 2
    assert bert(ids, types, None, mask, labels).loss is not None
    ernie_m = build("ernie_m", "ForSequenceClassification")
    assert ernie_m(ids, None, mask, labels).loss is not None
    ernie = build("ernie", "Model")
    ernie.eval()
    by_name = ernie(ids, types, attention_mask=mask, task_type_ids=types)
    by_place = ernie(ids, types, None, mask, types)
    np.testing.assert_array_equal(first(by_place), first(by_name))
    electra = build("electra", "ForSequenceClassification")
    output = electra(ids, None, None, None, None, None, True)
    assert output.attentions is not None
    assert output.hidden_states is None


@pytest.mark.parametrize("family", ["bert", "ernie"])
def test_masked_tokens_alone_are_scored(family: str) -> None:
    model = build(family, "ForMaskedLM")
    model.eval()
    batch = tensors(batch_for(model, "ForMaskedLM"))
    places = np.array([2, 7, 15])
    whole = model(**batch).logits.flatten(0, 1).numpy()[places]
    output = model(**batch, masked_positions=tensors({"places": places})["places"])
    np.testing.assert_allclose(output.logits.numpy(), whole, atol=1e-6)
