"""The experiments of the batch normalisation literature, one question a file: `python -m recipes.NAME --help`."""
