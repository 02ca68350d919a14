"""The fake backend: scripted latencies and failures."""
