"""The verbs of each noun: they read, check the rules, and make changes."""
