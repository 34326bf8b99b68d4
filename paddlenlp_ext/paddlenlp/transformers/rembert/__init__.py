"""RemBERT, module by module as in PaddleNLP."""
