"""Plans, judges and records benchmarks; knows no vendor and never runs a model itself."""

__version__ = "0.1.0"
