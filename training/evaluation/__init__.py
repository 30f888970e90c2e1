"""How well a network answers puzzles whose answers are known."""
