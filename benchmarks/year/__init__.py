"""A simulated year of one stream: what the monitor raises, next to what was planted."""
