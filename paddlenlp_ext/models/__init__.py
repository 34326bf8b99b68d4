"""One file a model family; `paddlenlp_ext.transformers` has the public names."""
