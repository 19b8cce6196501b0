"""Rehearsals: what synthetic shifts of the reference's own images cost, and what that says about a window."""
