"""Looks at the whole store: checks it, frees space, makes its index anew."""
