"""From a saved folder to predictions."""
