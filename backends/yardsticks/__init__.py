"""Workloads that measure the machine itself."""
