"""Datasets: generators, readers and writers, and the pool that a run draws from."""
