"""Command lines: how they are read, which flags scripts share, how a script runs and ends."""
