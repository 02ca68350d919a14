"""Measures: blocks of fresh processes, when to stop, and the trial they make."""
