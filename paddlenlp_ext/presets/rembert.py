"""The preset of RemBERT."""

from paddlenlp_ext.presets.preset import HOSTING, Preset

_FILES = ("model_state.pdparams", "sentencepiece.model")

ROWS = {
    "rembert": Preset(
        "RemBertTokenizer",
        {"model_max_length": 512},
        repository="google/rembert",
        files={name: f"{HOSTING}rembert/{name}" for name in _FILES},
    ),
}
