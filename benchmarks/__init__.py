"""The project's own speed, measured as ratios within one run: `python -m benchmarks --help`."""
