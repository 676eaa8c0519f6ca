"""Scalars: what YAML 1.1 makes of a text, and what a text field makes of that. Each row was compared with the reference implementation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.cdi.scalars import BadScalar, Value, key_text, resolve, resolve_plain, text_of, whole_number

YES = ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
NO = ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, True) for word in YES),
        *((word, False) for word in NO),
        *((word, None) for word in ("", "~", "null", "Null", "NULL")),
        ("0x1F", 31), ("0X1f", 31), ("0o17", 15), ("017", 15), ("0b11", 3), ("0B11", 3), ("-0b11", -3), ("0b-11", -3), ("+1", 1), ("-0", 0),
        ("1_000", 1000), ("0x1_0", 16), ("00", 0),
        ("18446744073709551615", 2**64 - 1), ("-9223372036854775808", -(2**63)),
        ("+9223372036854775808", float(2**63)), ("18446744073709551616", float(2**64)),
        ("08", 8.0), ("019", 19.0), ("1e3", 1000.0), ("1.", 1.0), (".5", 0.5), (".5e1", 5.0), (".5_0", 0.5), ("-.5", -0.5),
        (".inf", math.inf), ("+.INF", math.inf), ("-.Inf", -math.inf),
        *((text, text) for text in ("1:30", "190:20:30", "2026-01-01", "2026-01-01T00:00:00Z", "tRue", "nULL", "oFF", "0x", "1e", "e1")),
        *((text, text) for text in ("_1", ".", "..", "-", "+", "0b2", "1e400", "0x1FFFFFFFFFFFFFFFFF", "<<", "=")),
    ],
)  # fmt: skip
def test_an_unquoted_scalar_is_what_yaml_1_1_says(text: str, value: Value) -> None:
    resolved = resolve_plain(text)
    assert (type(resolved), resolved) == (type(value), value)


@pytest.mark.parametrize("text", ["0x10", "yes", "~", "1.10", ""])
def test_a_quoted_scalar_is_text(text: str) -> None:
    assert resolve(text, None, plain=False) == text


@pytest.mark.parametrize(
    ("tag", "text", "value"),
    [
        ("int", "5", 5), ("float", "7", 7.0), ("bool", "yes", True), ("null", "", None), ("str", "5", "5"), ("timestamp", "2026-1-1", "2026-1-1"),
        ("timestamp", "2026-01-01 1:2:3", "2026-01-01 1:2:3"), ("binary", "aGk=", "hi"), ("binary", "4oI=", "\ufffd\ufffd"), ("map", "5", "5"),
    ],
)  # fmt: skip
def test_a_tag_that_fits_is_honoured_quotes_or_not(tag: str, text: str, value: Value) -> None:
    resolved = resolve(text, f"tag:yaml.org,2002:{tag}", plain=False)
    assert (type(resolved), resolved) == (type(value), value)


@pytest.mark.parametrize(
    ("tag", "text"),
    [("int", "1.5"), ("int", "x"), ("float", "x"), ("float", "18446744073709551615"), ("bool", "1"), ("null", "x"), ("binary", "!"), ("timestamp", "2026-13-01")],
)  # fmt: skip
def test_a_tag_that_does_not_fit_is_refused(tag: str, text: str) -> None:
    with pytest.raises(BadScalar):
        resolve(text, f"tag:yaml.org,2002:{tag}", plain=True)


@pytest.mark.parametrize("tag", ["!local", "x"])
def test_an_unknown_tag_makes_text(tag: str) -> None:
    assert resolve("5", tag, plain=True) == "5"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("0x10", "16"), ("010", "8"), ("1.10", "1.1"), ("y", "true"), ("off", "false"), ("2026-01-01", "2026-01-01"), ("1e3", "1000"),
        ("999999.0", "999999"), ("1e6", "1e+06"), ("1234567.0", "1.234567e+06"), ("16777217.0", "1.6777216e+07"), ("0.00001", "1e-05"),
        ("0.0001", "0.0001"), ("0.30000000000000004", "0.3"), ("-0.0", "-0"), (".nan", "NaN"), (".inf", "+Inf"), ("-.inf", "-Inf"), ("1e40", "+Inf"),
        ("-1e40", "-Inf"), ("123456.5", "123456.5"), ("1e-50", "0"), ("18446744073709551615", "18446744073709551615"), ("99999999999999999999", "1e+20"),
    ],
)  # fmt: skip
def test_a_text_field_takes_numbers_and_booleans_as_the_reference_prints_them(written: str, text: str) -> None:
    value = resolve_plain(written)
    assert value is not None
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, "1"), (1.5, "1.5"), (math.inf, ".inf"), (-math.inf, "-.inf"), (math.nan, ".nan"), (True, "true")],
)
def test_a_key_that_is_no_text_becomes_text(value: Value, text: str) -> None:
    assert key_text(value) == text


@pytest.mark.parametrize("value", [None, 2**63])
def test_null_and_numbers_beyond_64_bits_are_no_keys(value: Value) -> None:
    with pytest.raises(BadScalar):
        key_text(value)


@pytest.mark.parametrize(
    ("value", "whole"),
    [(1000.0, 1000), (5.0, 5), (1e20, 10**20), (1234567890123456789.0, 1234567890123456800), (1.5, None), (1e21, None), (math.inf, None), (math.nan, None)],
)  # fmt: skip
def test_a_float_is_a_whole_number_if_its_json_text_is(value: float, whole: int | None) -> None:
    assert whole_number(value) == whole


@given(st.text(alphabet="0123456789abxoXBeE+-._:~yn", max_size=12))
def test_every_text_resolves_to_something(text: str) -> None:
    value = resolve_plain(text)
    assert value is None or isinstance(text_of(value), str)
