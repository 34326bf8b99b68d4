"""Settings that are the flags of a script by their names."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

AnySettings = TypeVar("AnySettings", bound="Settings")


class Settings:
    """A dataclass of settings."""

    @classmethod
    def from_flags(cls: type[AnySettings], flags: Mapping[str, Any], **more: Any) -> AnySettings:
        """Make them of a script's flags, of which those of other names and None are left out.

        Args:
            flags: Values by the names of the flags.
            more: What the script decides otherwise, or names otherwise.
        """
        names = [one.name for one in fields(cls)]  # type: ignore[arg-type]
        return cls(**{one: flags[one] for one in names if flags.get(one) is not None} | more)
