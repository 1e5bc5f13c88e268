"""Where rows come from: files of many formats, and Python functions."""

from orchestrator.sources.blocks import BadRows, Block, Reading
from orchestrator.sources.columns import Loaded, blocks_of, found_files, from_function, joined_blocks, load_columns

__all__ = [
    "BadRows",
    "Block",
    "Loaded",
    "Reading",
    "blocks_of",
    "found_files",
    "from_function",
    "joined_blocks",
    "load_columns",
]
