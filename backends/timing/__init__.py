"""Walks the stages of a pipeline once and times each."""
