"""ConvBERT, module by module as in PaddleNLP."""
