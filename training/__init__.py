"""Turns puzzles into checkpoints."""
