"""The HTTP side of the service. It reads puzzles and waits for answers; it never imports torch."""
