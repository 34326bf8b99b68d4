"""Corpora to masked batches."""
