"""Where rows come from: files of many formats, and Python functions."""

from orchestrator.sources.columns import load_columns

__all__ = ["load_columns"]
