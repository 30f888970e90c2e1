"""The files of a run's directory, beside its state."""

RECIPE_FILE = "recipe.json"
LOG_FILE = "log.jsonl"
LOCK_FILE = "lock"
BEST_DIR = "best"
"""The state file in it holds the best weights, and facts about them."""
