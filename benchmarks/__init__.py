"""What the speed claims in docs/speed.md rest on: `python -m benchmarks.NAME` prints one JSON line."""
