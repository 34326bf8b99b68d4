"""The mistakes that a user can make: a line each, with the place, what was expected and the cure.

Scripts print such an error as one line and exit with code 2 (`paddlenlp_ext.cli.run`); a traceback
is left to mistakes of this project.
"""


class UserError(Exception):
    """Something that the user gave is wrong: a file, a row, a setting, a name."""


class DataError(UserError):
    """A data file or one of its rows cannot be used."""


class WeightsError(UserError):
    """A weight file cannot be read, or does not fit the model."""


class DeviceError(UserError):
    """The chosen device is not there."""


class TooLongError(UserError, ValueError):
    """A sequence is longer than a model has positions."""
