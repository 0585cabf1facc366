"""What the methods share: scores, budgets, masks and the loop of rounds."""
