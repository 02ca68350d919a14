"""What is benchmarked: the pipeline as data, its graphs, its weights and its text."""
