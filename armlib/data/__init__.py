"""Collections, their tokens, and the batches that training reads."""
