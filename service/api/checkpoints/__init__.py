"""`/checkpoints`: which versions there are, which one is served, and how to change that."""
