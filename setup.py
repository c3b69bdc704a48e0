from setuptools import setup

setup()  # All of it stands in pyproject.toml.
