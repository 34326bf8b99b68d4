"""What scripts take from `paddlenlp.ops`."""
