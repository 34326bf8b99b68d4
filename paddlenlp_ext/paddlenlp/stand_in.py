"""Let the name `paddlenlp` lead here, for scripts that are run as they are."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from paddlenlp_ext.errors import UserError

THEIRS = "paddlenlp"
HOME = "paddlenlp_ext."  # the package that holds ours of the same name


class Names(MetaPathFinder, Loader):
    """Answers `import paddlenlp…` with the module of that name that is here."""

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        """Find a module of `paddlenlp`, and no other; see `MetaPathFinder`."""
        if fullname.partition(".")[0] != THEIRS:
            return None
        try:
            found = import_module(HOME + fullname)
        except ModuleNotFoundError as error:
            if error.name and (HOME + fullname).startswith(error.name):
                raise ModuleNotFoundError(
                    f"No module named {fullname!r} in {HOME}{THEIRS}, which stands in for it; what "
                    "is there is listed in docs/compatibility.md",
                    name=fullname,
                ) from None
            raise
        return ModuleSpec(
            fullname, self, loader_state=found.__spec__, is_package=hasattr(found, "__path__")
        )

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return ours; see `Loader`."""
        return import_module(HOME + spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Give ours, which has run already, its own origin back; see `Loader`."""
        if module.__spec__ is not None and module.__spec__.loader is self:
            module.__spec__ = module.__spec__.loader_state


def stand_in() -> None:
    """Answer every `import paddlenlp` of this process from now on; more than once is the same.

    Raises:
        UserError: PaddleNLP itself was imported before.
    """
    if any(isinstance(finder, Names) for finder in sys.meta_path):
        return
    if THEIRS in sys.modules:
        raise UserError(
            "`paddlenlp` is imported already: call `stand_in` before, at the top of the script"
        )
    sys.meta_path.insert(0, Names())
