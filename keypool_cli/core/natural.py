"""The order in which people look for names: p2 before p10."""

import re

_numbers = re.compile(r"\d+").sub
_ZEROS = "0\u0660\u06f0"  # also as Arabic and Persian write it


def natural(name: str) -> str:
    """What to sort ``name`` by, so that numbers in it stand by their value.

    No two printable names are the same; of numbers that differ in leading zeros the shorter is
    first.
    """
    return _numbers(_by_value, name)


def _by_value(number: re.Match[str]) -> str:
    """A number after its length, so that as text it stands where it does as a number."""
    digits = number[0]
    if digits[0] not in _ZEROS:  # nearly always, and there may be 100,000
        return chr(48 + len(digits)) + digits
    value = digits.lstrip(_ZEROS)
    return f"{chr(48 + len(value))}{value}{chr(len(digits) - len(value))}"
