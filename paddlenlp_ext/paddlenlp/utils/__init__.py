"""What scripts take from `paddlenlp.utils`."""

CONFIG_NAME = "config.json"
