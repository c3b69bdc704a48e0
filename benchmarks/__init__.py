"""How fast the layer is, one comparison a file: `python -m benchmarks.NAME --help`."""
