"""One row a preset, one file a family: its config, its tokenizer, and where its files are."""
