"""The typed schema of conf/: keys, defaults, ranges, and how a bad value is refused."""
