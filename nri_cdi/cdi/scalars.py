"""Scalars of YAML 1.1 as the reference implementation's reader (go-yaml v2) understands them, and numbers as it prints them.

A resolved scalar is a Python value: None, bool, int (beyond 64 bits it would be a float), float, or str. Timestamps stay text.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from datetime import datetime, time
from functools import lru_cache
from typing import Final

Value = str | int | float | bool | None

_PREFIX: Final = "tag:yaml.org,2002:"
_WORDS: Final[dict[str, Value]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[oO]([0-7]+)|0[bB]([01]+)|0([0-7]*)|([1-9][0-9]*))")
_BASES: Final = (16, 8, 2, 8, 10)
_SIGNED_BINARY = re.compile(r"0b([-+][01]+)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_POINT_FLOAT = re.compile(r"\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?")
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:(?:[Tt]([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2}))"
    r"| ([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?)?"
)

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
_UINT64_MAX: Final = 2**64 - 1
_EXPONENT_FROM: Final = 6
"""Go's shortest float text switches to an exponent here..."""
_EXPONENT_BELOW: Final = -4
"""...and below here."""
_LITERAL_BELOW: Final = 1e21
"""Go's JSON encoder writes a whole number that is smaller without an exponent."""


class BadScalar(ValueError):
    """A scalar whose explicit tag does not fit its text; the message says so."""


def resolve(text: str, tag: str | None, *, plain: bool) -> Value:
    """The value of a scalar: `plain` if it stands without quotes or block, `tag` its explicit tag in full.

    Raises BadScalar.
    """
    if tag is None:
        return resolve_plain(text) if plain else text
    name = tag.removeprefix(_PREFIX) if tag.startswith(_PREFIX) else ""
    if name == "binary":
        return _binary(text)
    if name not in ("bool", "int", "float", "null", "timestamp"):
        return text  # !!str, and tags nobody knows
    if name == "timestamp":
        if not _is_timestamp(text):
            raise BadScalar("is not a timestamp")
        return text
    value = resolve_plain(text)
    if name == "float" and type(value) is int and INT64_MIN <= value <= INT64_MAX:
        return float(value)
    if _type_name(value) != name:
        raise BadScalar(f"is not of the type !!{name} that its tag says")
    return value


@lru_cache(maxsize=4096)
def resolve_plain(text: str) -> Value:
    """The value of a scalar without quotes and tag."""
    first = text[:1]
    if text in _WORDS:
        return _WORDS[text]
    if first == ".":
        return _float(text, _POINT_FLOAT)
    if not first or first not in "+-0123456789":
        return text
    digits = text.replace("_", "")
    number = _integer(digits)
    if number is not None:
        return number
    value = _float(digits, _FLOAT)
    return text if isinstance(value, str) else value


def _integer(digits: str) -> int | None:
    if match := _INTEGER.fullmatch(digits):
        sign, *bodies = match.groups()
        body, base = next((body, base) for body, base in zip(bodies, _BASES, strict=True) if body is not None)
        # Decimal text beyond 20 digits is no 64-bit number, and int() refuses to read it when it is very long.
        number = int(body or "0", base) if len(body) <= 64 or base != 10 else _UINT64_MAX + 1
        number = -number if sign == "-" else number
        # An unsigned number has no sign, not even a plus.
        if INT64_MIN <= number <= (INT64_MAX if sign else _UINT64_MAX):
            return number
    elif match := _SIGNED_BINARY.fullmatch(digits):
        number = int(match.group(1), 2)
        if INT64_MIN <= number <= INT64_MAX:
            return number
    return None


def _float(text: str, pattern: re.Pattern[str]) -> str | float:
    if not pattern.fullmatch(text):
        return text
    value = float(text)
    return text if value in (float("inf"), float("-inf")) else value


def _binary(text: str) -> str:
    try:
        data = base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except binascii.Error as error:
        raise BadScalar("is not base64, as its tag !!binary says") from error
    # Each byte that is not UTF-8 becomes one replacement character on the reference's way through JSON.
    return re.sub("[\udc80-\udcff]", "\ufffd", data.decode("utf-8", "surrogateescape"))


def _is_timestamp(text: str) -> bool:
    match = _TIMESTAMP.fullmatch(text)
    if not match:
        return False
    numbers = [int(group) for group in match.groups() if group is not None]
    try:
        # Year 0 is a year to Go and not to Python; any leap year stands for it.
        datetime(numbers[0] or 4, numbers[1], numbers[2])  # noqa: DTZ001 - only whether it exists counts
        hour, minute, second = numbers[3:] or (0, 0, 0)
        time(hour, minute, second)
    except ValueError:
        return False
    return True


def _type_name(value: Value) -> str:
    if value is None:
        return "null"
    return {bool: "bool", int: "int", float: "float"}.get(type(value), "str")


def text_of(value: str | float) -> str:
    """A scalar as text, where the specification wants text: numbers and booleans as the reference writes them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _float32_text(value)


def key_text(value: Value) -> str:
    """A scalar as the key of a mapping. Raises BadScalar for null, and for a number that is too large to be one."""
    if value is None:
        raise BadScalar("is null, which cannot be a key")
    if type(value) is int and value > INT64_MAX:
        raise BadScalar("is too large a number for a key")
    text = text_of(value)
    return {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan"}.get(text, text) if isinstance(value, float) else text


def _float32_text(value: float) -> str:
    """The shortest digits that identify the number in single precision, as Go's `%g`: the reference reads and prints that."""
    if value != value:  # noqa: PLR0124 - not a number
        return "NaN"
    try:
        single: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        single = float("inf") if value > 0 else float("-inf")
    if single in (float("inf"), float("-inf")):
        return "+Inf" if single > 0 else "-Inf"
    shortest = next(text for text in (f"{single:.{digits}e}" for digits in range(9)) if _as_single(text) == single)
    mantissa, exponent = shortest.split("e")
    power = int(exponent)
    if power < _EXPONENT_BELOW or power >= _EXPONENT_FROM:
        return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
    places = max(len(mantissa.lstrip("-").replace(".", "")) - 1 - power, 0)
    return f"{float(shortest):.{places}f}"


def _as_single(text: str) -> float:
    try:
        single: float = struct.unpack("f", struct.pack("f", float(text)))[0]
    except OverflowError:
        return float("inf")
    return single


def whole_number(value: float) -> int | None:
    """The integer that the float is when it is written as JSON by the reference; None if it is none."""
    if value != value or abs(value) >= _LITERAL_BELOW or value != int(value):  # noqa: PLR0124 - not a number
        return None
    # The shortest digits, then zeros: the last digits of a large float are not those of its exact value.
    mantissa, _, exponent = repr(value).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = whole + fraction
    shift = int(exponent or "0") - len(fraction)
    return int(digits) * 10**shift if shift >= 0 else int(digits[:shift])
