"""Hands jobs to clusters that run them elsewhere; `target` says what such a place can do."""
