"""The control side of the worker: its protocol, telemetry, the lock on a device."""
