"""Devices in annotations, read and written."""

from __future__ import annotations

import pytest

from nri_cdi.cdi import AnnotationError
from nri_cdi.cdi import annotations as cdi_annotations


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ()),
        ({"other/key": "nonsense", "cdi.k8s.io": "x", "CDI.k8s.io/a": "x"}, ()),
        ({"cdi.k8s.io/a": "a/b=c"}, ("a/b=c",)),
        ({"cdi.k8s.io/": "a/b=c,a/b=c,a/b=d"}, ("a/b=c", "a/b=c", "a/b=d")),
        ({"cdi.k8s.io/z": "a/b=1", "cdi.k8s.io/a": "a/b=2"}, ("a/b=2", "a/b=1")),
        ({"cdi.k8s.io/any thing/at all": "a/b=1"}, ("a/b=1",)),
    ],
)
def test_names_come_from_cdi_keys_in_their_order(given: dict[str, str], names: tuple[str, ...]) -> None:
    assert cdi_annotations.parse(given) == names


@pytest.mark.parametrize("value", ["", ",", "a/b=c,", "a/b=c, a/b=d", " a/b=c", "a/b", "/dev/null", "a/b=c;a/b=d"])
def test_a_value_with_anything_but_names_fails_and_names_its_key(value: str) -> None:
    with pytest.raises(AnnotationError, match="invalid CDI device name") as caught:
        cdi_annotations.parse({"cdi.k8s.io/x": value, "cdi.k8s.io/y": "a/b=c"})
    assert caught.value.key == "cdi.k8s.io/x"


def test_the_prefix_can_be_another() -> None:
    assert cdi_annotations.parse({"my.org/x": "a/b=c", "cdi.k8s.io/x": "bad"}, "my.org/") == ("a/b=c",)


def test_the_key_of_a_device_has_no_slash() -> None:
    assert cdi_annotations.key_for("plugin", "dev/0") == "cdi.k8s.io/plugin_dev_0"


@pytest.mark.parametrize(
    ("plugin", "device"),
    [("", "d"), ("p", ""), ("p", "d-"), ("-p", "d"), ("p/q", "d"), ("p", "x" * 62), ("p", "é"), ("p", "a b")],
)
def test_a_key_that_kubernetes_refuses_is_not_made(plugin: str, device: str) -> None:
    with pytest.raises(AnnotationError):
        cdi_annotations.key_for(plugin, device)


def test_a_key_may_have_sixty_three_bytes() -> None:
    assert len(cdi_annotations.key_for("p", "x" * 61)) == len("cdi.k8s.io/") + 63


def test_what_is_written_is_read_and_the_input_stays() -> None:
    before = {"other": "x"}
    after = cdi_annotations.update(before, "p", "d", ["a/b=c", "a/b=d"])
    assert cdi_annotations.parse(after) == ("a/b=c", "a/b=d")
    assert (before, after["other"]) == ({"other": "x"}, "x")


def test_no_devices_write_an_empty_value() -> None:
    assert cdi_annotations.update({}, "p", "d", []) == {"cdi.k8s.io/p_d": ""}


@pytest.mark.parametrize(
    ("used", "names"), [({"cdi.k8s.io/p_d": ""}, ["a/b=c"]), ({}, ["bad"]), ({}, ["a/b=c,a/b=d,"])]
)
def test_a_used_key_and_a_bad_name_are_refused(used: dict[str, str], names: list[str]) -> None:
    with pytest.raises(AnnotationError):
        cdi_annotations.update(used, "p", "d", names)
