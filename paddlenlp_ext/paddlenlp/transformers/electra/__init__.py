"""ELECTRA, module by module as in PaddleNLP."""
