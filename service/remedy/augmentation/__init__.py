"""Remedies that change the training images: the operations that recreate a shift."""
