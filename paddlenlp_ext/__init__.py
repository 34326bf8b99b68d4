"""RemBERT, ConvBERT, ERNIE-M and BERT for PaddlePaddle."""

__version__ = "0.1.0"
