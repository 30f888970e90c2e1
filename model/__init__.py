"""The network and the puzzles it reads."""
