"""Models that the recipes use: one function per file, stock Keras layers only."""
