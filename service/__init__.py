"""Answers requests with checkpoints."""
