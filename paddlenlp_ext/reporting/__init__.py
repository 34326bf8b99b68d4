"""What runs have written, read and drawn: curves, and a report as one page. Without Paddle."""
