"""The figures of docs/speed.md, measured: `python -m benchmarks`."""
