"""Remedies against a changed mix of classes."""
