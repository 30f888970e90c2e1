"""Continuous batching by segment: slots, runners, the loop, hot-loading."""
