"""Text files to batches: tasks as rows of data, features, padding."""
