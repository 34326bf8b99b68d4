"""What a process is and how it ends: launcher, CPU tuning, signals."""
