"""What a CPU computes otherwise."""
