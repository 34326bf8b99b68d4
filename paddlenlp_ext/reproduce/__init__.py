"""Run the tables of the pages again: many seeds, and the reported numbers beside the measured."""
