"""Packaging entry point; every setting lives in pyproject.toml."""

from setuptools import setup

setup()
