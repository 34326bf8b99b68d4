"""The mistakes that a user can make: a line each, with the place, what was expected and the cure.

Scripts print such an error as one line and exit with code 2 (`cli.program.run`); a traceback is
left to mistakes of this project.

Files of others decide parts of such lines. What they say is quoted and cut (`shown`), and no
message has a control character or more than `LONGEST` characters, whatever it is made of.
"""

from unicodedata import category

LONGEST = 300  # characters of a message
UNREADABLE = ("Cc", "Cs", "Zl", "Zp")  # categories of characters
TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # the direction of what follows
SHOWN = 80  # of a value in it


class UserError(Exception):
    """Something that the user gave is wrong: a file, a row, a setting, a name."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


def one_line(text: str, longest: int = LONGEST) -> str:
    """Return a text without control characters, and without its middle where it is too long.

    What is wrong stands at the beginning of a message, and the cure at its end.
    """
    text = _cut(text, longest)
    if text.isprintable():
        return text
    return _cut("".join(map(_escaped, text)), longest)


def as_line(text: str, longest: int = LONGEST) -> str:
    """Return a text that is to be read on one line, without its middle where it is too long.

    Unlike `one_line`, it keeps what its language needs and no console shows, such as joiners.
    """
    text = _cut(" ".join(text.split()), longest)
    if text.isprintable():
        return text
    return "".join(
        _escaped(one) if one in TURNS or category(one) in UNREADABLE else one for one in text
    )


def shown(value: object, longest: int = SHOWN) -> str:
    """Quote a value of a file that others made, so that a message can hold it."""
    if isinstance(value, str):
        text = repr(value[:longest])
        whole = len(value) <= longest and len(text) <= longest + 2
        return text if whole else f"{text[:longest]}…{text[0]}"
    try:
        text = repr(value)
    except RecursionError:
        text = f"a {type(value).__name__} of many levels"
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    end = longest // 2
    return f"{text[: longest - end - 3]} … {text[-end:]}"


def _escaped(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]


class DataError(UserError):
    """A data file or one of its rows cannot be used."""


class WeightsError(UserError):
    """A weight file cannot be read, or does not fit the model."""


class DeviceError(UserError):
    """The chosen device is not there."""


class InputError(UserError, ValueError):
    """A model cannot compute with what it was called with."""


class TooLongError(InputError):
    """A sequence is longer than a model has positions."""
