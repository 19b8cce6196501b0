"""The commands of `tidemark`: one module a group, each command a few lines that call a room."""
