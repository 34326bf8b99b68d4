"""The only door to disk and network."""
