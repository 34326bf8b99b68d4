"""Packaging entry point: scripts as packages, kernels in C; all other settings: pyproject.toml."""

from concurrent.futures import ThreadPoolExecutor

from setuptools import Extension, find_namespace_packages, find_packages, setup
from setuptools.command.build_ext import build_ext

# `examples` goes into the wheel as `paddlenlp_ext/examples`, where `paddlenlp-ext train` finds it.
scripts = [f"paddlenlp_ext.{name}" for name in find_namespace_packages(include=["examples.*"])]

# A library that `nn/cpu/compiled.py` loads; no module, so that one serves every Python. Without a
# compiler there is none (`pip install --verbose` says so), and Paddle computes instead.
folder = "paddlenlp_ext/nn/cpu"
kernels = Extension(
    "paddlenlp_ext.nn.cpu._kernels",
    [
        f"{folder}/{name}.c"
        for name in ("tokens", "attention", "convolution", "few", "product", "adamw", "threads")
    ],
    depends=[f"{folder}/numbers.h", f"{folder}/product.h"],
    extra_compile_args=[
        *("-std=gnu11", "-O3", "-g0", "-fopenmp", "-fvisibility=hidden", "-Wno-psabi"),
        *("-fno-math-errno", "-fno-trapping-math"),  # not -ffast-math: what is not finite stays so
    ],
    extra_link_args=["-fopenmp", "-lm"],
    py_limited_api=True,
    optional=True,
)


class BuildLibrary(build_ext):
    """Compile all files at once; what is made has a point in its name, as no module has."""

    def build_extension(self, ext):
        """Build the library."""
        compile_in_order = self.compiler.compile

        def compile_at_once(sources, *args, **options):
            with ThreadPoolExecutor() as pool:
                made = pool.map(lambda one: compile_in_order([one], *args, **options), sources)
                return [path for paths in made for path in paths]

        self.compiler.compile = compile_at_once
        super().build_extension(ext)

    def get_ext_filename(self, fullname: str) -> str:
        """Return its path, from where packages are."""
        return f"{fullname.replace('.', '/')}.c.so"


setup(
    packages=[*find_packages(include=["paddlenlp_ext*"]), *scripts],
    package_dir={"paddlenlp_ext.examples": "examples"},
    ext_modules=[kernels],
    cmdclass={"build_ext": BuildLibrary},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
