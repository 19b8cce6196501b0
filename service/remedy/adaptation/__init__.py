"""Remedies that change the model: its last layer, its normalisation, or its training."""
