"""What figures are worth: warnings, grades, shares of a limit, comparisons, checks, history."""
