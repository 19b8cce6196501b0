"""`tidemark backtest`: replays logged traffic through other settings, side by side with what happened."""
