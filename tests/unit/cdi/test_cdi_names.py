"""Names: the grammars, and what is told about names that break them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nri_cdi.cdi import InvalidName, QualifiedName, is_qualified, parse_qualified_name
from nri_cdi.testing import specs


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("vendor.com/gpu=0", ("vendor.com", "gpu", "0")),
        ("a/b=c", ("a", "b", "c")),
        ("V_e-n.d0r/c.l-a_s5=0:a-b_c.d", ("V_e-n.d0r", "c.l-a_s5", "0:a-b_c.d")),
        (f"a/b={'x' * 300}", ("a", "b", "x" * 300)),
    ],
)
def test_a_qualified_name_has_three_parts(text: str, parts: tuple[str, str, str]) -> None:
    name = parse_qualified_name(text)
    assert (name.vendor, name.cls, name.name) == parts
    assert name.kind == f"{parts[0]}/{parts[1]}"


@pytest.mark.parametrize(
    "text", ["", "dev0", "/dev/null", "/a/b=c", "a=b/c", "a/b", "a/b=", "/b=c", "a/=c", "=", "a=b"]
)
def test_a_text_without_the_three_parts_is_not_qualified(text: str) -> None:
    with pytest.raises(InvalidName, match="must be vendor/class=device") as caught:
        parse_qualified_name(text)
    assert caught.value.part == "qualified name"


@pytest.mark.parametrize(
    ("text", "part", "reason"),
    [
        ("9a/b=c", "vendor", 'the vendor "9a" must start with an ASCII letter'),
        ("a!b/c=d", "vendor", "has the character '!'"),
        ("a-/b=c", "vendor", 'the vendor "a-" must end with an ASCII letter or digit'),
        ("é/b=c", "vendor", "must start with an ASCII letter"),
        ("a/_b=c", "class", 'the class "_b" must start with an ASCII letter'),
        ("a/b/c=d", "class", "has the character '/'"),
        ("a/b=c=d", "device", "has the character '='"),
        ("a/b=c/d", "device", "has the character '/'"),
        ("a/b=-c", "device", 'the device name "-c" must start with'),
        ("a/b=c:", "device", 'the device name "c:" must end with'),
        ("a/b=c\n", "device", "must end with"),
        ("a/b=c,a/b=d", "device", "has the character ','"),
    ],
)
def test_the_first_part_that_breaks_its_grammar_is_named(text: str, part: str, reason: str) -> None:
    with pytest.raises(InvalidName) as caught:
        parse_qualified_name(text)
    assert caught.value.part == part
    assert reason in str(caught.value)
    assert text in str(caught.value)


@given(specs.qualified_names)
def test_a_parsed_name_renders_as_it_was(text: str) -> None:
    assert str(parse_qualified_name(text)) == text


@given(st.text(alphabet="aZ0/=_-.:é\n", max_size=9))
def test_the_quick_question_and_the_parser_agree(text: str) -> None:
    try:
        parsed: QualifiedName | None = parse_qualified_name(text)
    except InvalidName:
        parsed = None
    assert is_qualified(text) == (parsed is not None)
