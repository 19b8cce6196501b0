"""The report of a remedy: text, charts and pictures."""
