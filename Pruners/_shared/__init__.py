"""The parts that all methods share: schedules, budgets of layers, scopes, masks, and the loop of rounds."""
