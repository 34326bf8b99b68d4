"""Measurements of speed and memory: `python -m benchmarks`, and programs of their own."""
