"""Looking into a network: what its two modules do, step by step, in pictures and numbers.

Every module of a diagnostic has a `measure` that gives numbers, as JSON holds them, and a `draw` that makes the picture
of exactly these.
"""
