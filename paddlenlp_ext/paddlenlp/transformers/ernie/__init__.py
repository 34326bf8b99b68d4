"""ERNIE, module by module as in PaddleNLP."""
