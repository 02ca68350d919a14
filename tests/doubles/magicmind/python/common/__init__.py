"""Stands where the SDK's package of this name stands."""
