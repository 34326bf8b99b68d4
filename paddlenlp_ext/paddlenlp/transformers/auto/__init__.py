"""Find the class of a checkpoint, module by module as in PaddleNLP."""
