"""A vocabulary file as a list of lines: the line number is the id.

The list, not a mapping, is the truth. ConvBERT's published vocab.txt repeats 188 tokens on 1,008
surplus lines: a mapping would lose those lines on saving and shift almost every id.
"""

from collections.abc import Iterable
from pathlib import Path

from paddlenlp_ext.errors import UserError


class Vocabulary:
    """Tokens by id and ids by token; of a repeated token the last line's id counts.

    Args:
        tokens: The tokens in the order of their ids.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self.tokens = list(tokens)
        self.ids = {token: line for line, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def load(cls, path: Path) -> "Vocabulary":
        """Read one token a line; both Unix and Windows line ends are understood.

        Raises:
            UserError: The file is empty, not there, or not UTF-8.
        """
        try:
            # utf-8-sig: an editor's byte order mark would otherwise be part of the first token.
            with path.open(encoding="utf-8-sig") as lines:
                tokens = [line.rstrip("\n") for line in lines]
        except OSError as error:
            raise UserError(f"{path}: no vocabulary can be read there: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path}: expected UTF-8, got byte {error.object[error.start]:#04x} at position "
                f"{error.start}; convert the file to UTF-8"
            ) from error
        if not tokens:
            raise UserError(f"{path}: expected one token a line, got an empty file")
        return cls(tokens)

    def save(self, path: Path) -> None:
        """Write every line, repeated ones too."""
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{token}\n" for token in self.tokens)
