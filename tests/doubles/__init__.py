"""Stand-ins for what no test machine has: the MagicMind SDK and the vendor's tools."""
