"""Experiments made of several measurements: selfcheck, machine limits, request rate."""
