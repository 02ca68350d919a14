"""Tables of a report: rows and columns, before any format."""
