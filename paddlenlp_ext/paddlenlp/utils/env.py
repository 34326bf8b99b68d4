"""Names of the files of a model's folder."""

from paddlenlp_ext.paddlenlp.utils import CONFIG_NAME as CONFIG_NAME

LEGACY_CONFIG_NAME = "model_config.json"
PADDLE_WEIGHTS_NAME = "model_state.pdparams"
