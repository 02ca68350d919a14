"""The facts of this host, its limits, and what would disturb a measurement."""
