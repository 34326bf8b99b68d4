"""BERT, module by module as in PaddleNLP."""
