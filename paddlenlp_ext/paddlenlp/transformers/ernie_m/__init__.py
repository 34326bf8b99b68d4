"""ERNIE-M, module by module as in PaddleNLP."""
