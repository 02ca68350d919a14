"""Results on disk: result files, sweep folders, journals, saved baselines."""
