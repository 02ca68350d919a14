"""Numbers, verdicts and settings in words."""
