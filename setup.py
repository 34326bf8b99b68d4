"""Packaging entry point: the scripts' folders as packages; all other settings: pyproject.toml."""

from setuptools import find_namespace_packages, find_packages, setup

# `examples` goes into the wheel as `paddlenlp_ext/examples`, where `paddlenlp-ext train` finds it.
scripts = [f"paddlenlp_ext.{name}" for name in find_namespace_packages(include=["examples.*"])]

setup(
    packages=[*find_packages(include=["paddlenlp_ext*"]), *scripts],
    package_dir={"paddlenlp_ext.examples": "examples"},
)
