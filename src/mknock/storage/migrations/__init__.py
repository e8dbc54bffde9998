"""Numbered SQL files, applied in order, each once, under a lock."""
