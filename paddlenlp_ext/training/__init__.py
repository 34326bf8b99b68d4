"""The training loops, as generators of events, and what they stand on."""
