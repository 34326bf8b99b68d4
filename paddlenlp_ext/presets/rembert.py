"""The preset of RemBERT."""

from paddlenlp_ext.presets.preset import HOSTING, WEIGHTS, Preset

ROWS = {
    "rembert": Preset(
        "RemBertTokenizer",
        {"model_max_length": 512},
        repository="google/rembert",
        files={
            WEIGHTS: f"{HOSTING}rembert/model_state.pdparams",
            "sentencepiece.model": f"{HOSTING}rembert/sentencepiece.model",
        },
    ),
}
