"""What a page says of a point and of a sweep, read from result files."""
