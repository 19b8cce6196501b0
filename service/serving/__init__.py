"""What happens to a prediction, whichever protocol brought it: logging, counting, shadow models."""
