"""`POST /solve/batch`: many puzzles, a line for each as it ends."""
