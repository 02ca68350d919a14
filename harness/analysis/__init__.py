"""From columns of iterations to estimates, quantiles, labels and verdicts: pure functions."""
