"""Looking into a network: what its two modules do, step by step, in pictures and numbers."""
