"""Text to ids; no Paddle here."""
