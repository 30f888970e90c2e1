"""`/jobs`: puzzles that are asked for now and fetched later."""
