from __future__ import annotations

import argparse
import json
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from nri_cdi.cli.serve import add_settings
from nri_cdi.settings import ENV_PREFIX, Settings, SettingsError, load, names

if TYPE_CHECKING:
    from pathlib import Path

OTHERS = {
    "resource": "v.com/gpu",
    "cdi-dir": "/other",
    "nri-socket": "/s",
    "plugin-name": "other",
    "plugin-index": "42",
    "kubelet-dir": "/k",
    "host-root": "/host",
    "run-dir": "/r",
    "annotation-prefix": "x.example.com/",
    "guard": "off",
    "deadline": "0.8",
    "pre-start": "off",
    "start-gate": "off",
    "strict-link": "on",
    "mode": "observe",
    "foreign-keys": "ignore",
    "trust-pod-annotations": "on",
    "allow-kind": "v.com/*",
    "allow-namespace": "team-*",
    "allow-hook": "/usr/bin/hook",
    "allow-mount": "/opt/vendor",
    "http": "127.0.0.1:9810",
    "registration": "plugins-registry",
    "preferred": "spread",
    "include": "v.com/gpu=a*",
    "exclude": "*=all",
    "prefer": "v.com/gpu=GPU-*",
    "shared-node": "/dev/control*",
    "settle": "0.5",
    "settle-specs": "7",
    "unhealthy-after": "0",
    "log-level": "debug",
    "log-format": "json",
}
"""A value of each setting that is not its default."""


def variable(name: str) -> str:
    return ENV_PREFIX + name.upper().replace("-", "_")


def value(settings: Settings, name: str) -> object:
    return getattr(settings, name.replace("-", "_"))


def as_set(name: str) -> object:
    default = value(Settings(), name)
    if isinstance(default, bool):
        return OTHERS[name] == "on"
    if isinstance(default, float):
        return float(OTHERS[name])
    return (OTHERS[name],) if isinstance(default, tuple) else OTHERS[name]


def test_the_table_above_has_every_setting() -> None:
    assert tuple(OTHERS) == names()


@pytest.mark.parametrize("name", OTHERS)
def test_every_setting_has_a_flag_a_variable_and_a_key(name: str, tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_settings(parser)
    flags = vars(parser.parse_args([f"--{name}", OTHERS[name]]))
    file = tmp_path / "settings.yaml"
    file.write_text(f"{name}: {json.dumps(OTHERS[name])}\n")
    for settings in (
        load({name: flags[name.replace("-", "_")]}, {}, None),
        load({}, {variable(name): OTHERS[name]}, None),
        load({}, {}, str(file)),
    ):
        assert value(settings, name) == as_set(name) != value(Settings(), name)


def test_without_anything_given_the_defaults_hold() -> None:
    assert load({"resource": None}, {"PATH": "/bin"}, None) == Settings()


def test_a_flag_goes_before_a_variable_and_a_variable_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("plugin-name: file\nplugin-index: '01'\nlog-level: error\n")
    environment = {variable("plugin-name"): "variable", variable("plugin-index"): "02"}
    settings = load({"plugin-name": "flag"}, environment, str(file))
    assert (settings.plugin_name, settings.plugin_index, settings.log_level) == ("flag", "02", "error")


def test_lists_are_repeated_flags_commas_or_yaml_lists(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("cdi-dir: [/a, /b]\n")
    for settings in (
        load({"cdi-dir": ["/a", "/b"]}, {}, None),
        load({}, {variable("cdi-dir"): "/a, /b,"}, None),
        load({}, {}, str(file)),
    ):
        assert settings.cdi_dir == ("/a", "/b")


def test_a_text_of_the_file_stays_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("plugin-index: 05\nguard: on\n")
    settings = load({}, {}, str(file))
    assert (settings.plugin_index, settings.guard) == ("05", True)


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("# nothing yet\n")
    assert load({}, {}, str(tmp_path / "settings.yaml")) == Settings()


FILES = {
    "an unknown key": ("log-level: info\nplugin-idx: 10\n", ':2: unknown key "plugin-idx", did you mean plugin-index?'),
    "a key that is there twice": ("guard: on\nguard: off\n", ':2: "guard" is there twice, first in line 1'),
    "no YAML": ("a: [\n", ":2: not YAML: "),
    "a list": ("- a\n", ":1: a settings file is a list of `key: value` lines"),
    "a wrong value": ("\nplugin-index: x\n", ':2: plugin-index: "x" is not right; write two digits, such as 10'),
    "an object": ("plugin-name: {a: b}\n", ":1: plugin-name: null is not right; write letters"),
    "a list for one value": ("plugin-name: [a, b]\n", ":1: plugin-name: takes one value, not a list; write letters"),
    "a list that contains itself": ("cdi-dir: &a [*a]\n", ": a list that contains itself"),
    "bytes that are no text": ("\udcff", ": not YAML: "),
}


@pytest.mark.parametrize(("content", "says"), FILES.values(), ids=FILES)
def test_what_is_wrong_in_a_file_is_said_with_its_place(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(SettingsError) as error:
        load({}, {}, str(file))
    assert str(error.value).startswith(str(file))
    assert says in str(error.value)


def test_a_file_that_cannot_be_read_is_no_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"none\.yaml: No such file"):
        load({}, {}, str(tmp_path / "none.yaml"))


def test_an_unknown_variable_is_refused_with_a_suggestion() -> None:
    with pytest.raises(SettingsError, match="NRI_CDI_PLUGIN_IDX is no setting, did you mean plugin-index"):
        load({}, {"NRI_CDI_PLUGIN_IDX": "10"}, None)


@pytest.mark.parametrize(
    "name",
    [
        "NRI_CDI_SERVICE_HOST",
        "NRI_CDI_SERVICE_PORT",
        "NRI_CDI_SERVICE_PORT_HTTP_METRICS",
        "NRI_CDI_PORT",
        "NRI_CDI_PORT_9100_TCP",
        "NRI_CDI_PORT_9100_TCP_ADDR",
        "NRI_CDI_METRICS_SERVICE_HOST",
        "NRI_CDI_METRICS_PORT_53_UDP_PROTO",
        "NRI_CDI_CONFIG",
    ],
)
def test_the_variables_that_the_kubelet_makes_of_a_service_are_no_settings(name: str) -> None:
    assert load({}, {name: "tcp://10.0.0.1:9100"}, None) == Settings()


WRONG: dict[str, list[str]] = {
    "plugin-index": ["1", "100", "x1", "", "\u0661\u0662"],
    "plugin-name": ["a/b", "", "a b"],
    "annotation-prefix": ["cdi.k8s.io", "/", "CDI/", "a/b/", ""],
    "nri-socket": ["s", ""],
    "host-root": ["host"],
    "run-dir": ["run", "/"],
    "kubelet-dir": ["k"],
    "cdi-dir": ["etc/cdi"],
    "log-level": ["warn", "INFO"],
    "log-format": ["yaml"],
    "resource": ["gpu", "v.com/", "/gpu", "v/gpu", "v.com/gpu="],
    "guard": ["maybe", ""],
    "deadline": ["-1", "half"],
    "pre-start": ["yes please"],
    "start-gate": ["maybe"],
    "strict-link": ["maybe"],
    "mode": ["audit"],
    "foreign-keys": ["on"],
    "trust-pod-annotations": ["maybe"],
    "allow-kind": ["a b"],
    "allow-namespace": ["a/b"],
    "allow-hook": ["bin/hook"],
    "allow-mount": ["opt"],
    "http": ["9810", ":port", "[::1]", ":0", ":65536", ":99999", ":100000", "n\u00f6de:9810"],
    "registration": ["both"],
    "preferred": ["best"],
    "include": ["gpu", "*"],
    "exclude": ["all"],
    "prefer": ["a=b,c=d"],
    "shared-node": ["dev/x"],
    "settle": ["-1", "1m", "inf", ""],
    "settle-specs": ["nan"],
    "unhealthy-after": ["never"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRONG.items() for text in texts])
def test_a_wrong_value_is_refused_with_its_place_and_what_to_write(name: str, text: str) -> None:
    is_list = isinstance(value(Settings(), name), tuple)
    with pytest.raises(SettingsError, match=rf"^--{name}: .*(write|neither on nor off)"):
        load({name: [text] if is_list else text}, {}, None)


def test_every_rule_of_a_setting_has_a_wrong_value_above() -> None:
    assert set(WRONG) == set(names())


def test_every_setting_says_what_it_is_for() -> None:
    for setting in fields(Settings):
        assert setting.metadata["help"]
        assert setting.metadata["metavar"]
