"""Spec files and what every CDI implementation must make of them: tables of text, for test_cdi_files.py.

Each row was compared with the reference implementation (revision 05ae4b5): what it accepts stands in ACCEPTED with the part of the spec that
the row is about, what it refuses stands in REFUSED with our rule and the place where our error points.
"""

from __future__ import annotations

from typing import Any, Final

HEAD: Final = "cdiVersion: 1.1.0\nkind: a/b\n"
DEVICE: Final = "devices: [{name: d, containerEdits: {env: [A=b]}}]\n"
EMPTY: Final = "devices: [{name: d, containerEdits: {}}]\n"


def edits(text: str) -> str:
    """A spec whose only device has these edits, in flow style."""
    return f"{HEAD}devices:\n- name: d\n  containerEdits: {{{text}}}\n"


def env(text: str) -> str:
    """A spec whose only edits are one environment variable, written as `text`."""
    return f"{HEAD}devices:\n- name: d\n  containerEdits:\n    env:\n    - {text}\n"


def annotated(text: str) -> str:
    """A spec with these annotations, in flow style."""
    return f"{HEAD}annotations: {{{text}}}\n{DEVICE}"


def named(*names: str) -> str:
    """A spec with devices of these names."""
    return HEAD + "devices:\n" + "".join(f"- name: {name}\n  containerEdits: {{env: [A=b]}}\n" for name in names)


ACCEPTED: Final[list[tuple[str, str, str, Any]]] = [
    # name, text, path of the value in the spec, value
    ("block YAML", HEAD + DEVICE, "kind", "a/b"),
    ("JSON", '{"cdiVersion":"1.1.0","kind":"a/b","devices":[{"name":"d","containerEdits":{"env":["A=b"]}}]}', "devices.0.name", "d"),
    ("a trailing comma and unquoted keys", "{cdiVersion: 1.1.0, kind: a/b, devices: [{name: d, containerEdits: {env: [A=b,]}}],}", "kind", "a/b"),
    ("comments and a byte order mark", "\ufeff# text\n" + HEAD + DEVICE + "# end\n", "kind", "a/b"),
    ("a document start, and a second document", f"---\n{HEAD}{DEVICE}---\nfoo: [\n", "kind", "a/b"),
    ("garbage behind the end of the document", f"{HEAD}{DEVICE}...\n@ ` %\n", "kind", "a/b"),
    ("garbage behind a flow mapping", '{"cdiVersion":"1.1.0","kind":"a/b","devices":[{"name":"d","containerEdits":{"env":["A=b"]}}]} }', "kind", "a/b"),
    ("%YAML 1.1 and %TAG", f"%YAML 1.1\n%TAG !e! tag:x,1:\n---\n{HEAD}{DEVICE}", "kind", "a/b"),
    ("keys in another case", "CDIVERSION: 1.1.0\nKind: a/b\nDevices: [{NAME: d, ContainerEdits: {ENV: [A=b]}}]\n", "devices.0.name", "d"),
    ("the Kelvin sign for a k", f"cdiVersion: 1.1.0\n\u212aind: a/b\n{DEVICE}", "kind", "a/b"),
    ("two spellings of one field: the later in byte order wins", f"kind: a/b\nKIND: c/d\ncdiVersion: 1.1.0\n{DEVICE}", "kind", "a/b"),
    ("two spellings merge their mappings", f"{HEAD}{DEVICE}containerEdits: {{env: [A=1]}}\nContainerEdits: {{env: [B=1], additionalGids: [1]}}\n",
     "containerEdits", {"env": ["A=1"], "additionalGids": [1]}),
    ("a null in the later spelling leaves text alone", f"{HEAD}{DEVICE}KIND: c/d\nkind: ~\n".replace("kind: a/b\n", ""), "kind", "c/d"),
    ("an anchor and an alias", f"{HEAD}devices:\n- name: d\n  containerEdits: &e {{env: [A=b]}}\n- name: e\n  containerEdits: *e\n",
     "devices.1.containerEdits.env", ["A=b"]),
    ("a redefined anchor: the latest counts", edits("env: [&a A=1, &a A=2, *a]"), "devices.0.containerEdits.env", ["A=1", "A=2", "A=2"]),
    ("a merge key", f"{HEAD}devices:\n- <<: {{name: d}}\n  containerEdits: {{env: [A=b]}}\n", "devices.0.name", "d"),
    ("a merge key with a list", f"{HEAD}devices:\n- <<: [{{name: d}}, {{containerEdits: {{env: [A=b]}}}}]\n", "devices.0.name", "d"),
    ("a hexadecimal device name loses its spelling", named("0x10"), "devices.0.name", "16"),
    ("an octal device name", named("010"), "devices.0.name", "8"),
    ("a fraction as a device name", named("1.10"), "devices.0.name", "1.1"),
    ("y as a device name", named("y"), "devices.0.name", "true"),
    ("a date as a device name", named("2026-01-01"), "devices.0.name", "2026-01-01"),
    ("a quoted number as a device name", named('"0x10"'), "devices.0.name", "0x10"),
    ("sexagesimal digits stay text", named("1:30"), "devices.0.name", "1:30"),
    ("a large number stays exact", named("18446744073709551615"), "devices.0.name", "18446744073709551615"),
    ("keys that are no text", annotated("1: a, 1.5: b, yes: c, .inf: d"), "annotations", {"1": "a", "1.5": "b", "true": "c", ".inf": "d"}),
    ("values that are no text", annotated("a: 1, b: 1e6, c: no, d: ~"), "annotations", {"a": "1", "b": "1e+06", "c": "false", "d": ""}),
    ("annotation keys that Kubernetes would refuse", annotated('"": x, "/": z'), "annotations", {"": "x", "/": "z"}),
    ("an annotation key that ends in a colon", annotated("a:, b"), "annotations", {"a:": "", "b": ""}),
    ("null lists", f"{HEAD}{DEVICE}containerEdits: {{env: ~, mounts: , hooks: null}}\n", "containerEdits", None),
    ("null edits of the spec", f"{HEAD}{DEVICE}containerEdits:\n", "containerEdits", None),
    ("a null in a list of text", edits("env: [A=b], hooks: [{hookName: prestart, path: /x, args: [~]}]"), "devices.0.containerEdits.hooks.0.args", [""]),
    ("a null in a list of numbers", edits("additionalGids: [~]"), "devices.0.containerEdits.additionalGids", [0]),
    ("an octal file mode", edits("deviceNodes: [{path: /x, fileMode: 0660}]"), "devices.0.containerEdits.deviceNodes.0.fileMode", 432),
    ("an octal file mode of YAML 1.2", edits("deviceNodes: [{path: /x, fileMode: 0o660}]"), "devices.0.containerEdits.deviceNodes.0.fileMode", 432),
    ("a decimal file mode", edits("deviceNodes: [{path: /x, fileMode: 660}]"), "devices.0.containerEdits.deviceNodes.0.fileMode", 660),
    ("whole numbers written as fractions", edits("additionalGids: [1000.0, 1e3, 5., .5e1, 08, -0]"),
     "devices.0.containerEdits.additionalGids", [1000, 1000, 5, 5, 8, 0]),
    ("a negative major number", edits("deviceNodes: [{path: /x, major: -1}]"), "devices.0.containerEdits.deviceNodes.0.major", -1),
    ("a relative device path", edits("deviceNodes: [{path: x}]"), "devices.0.containerEdits.deviceNodes.0.path", "x"),
    ("no access at all", edits("deviceNodes: [{path: /x, permissions: none}]"), "devices.0.containerEdits.deviceNodes.0.permissions", "none"),
    ("repeated permissions", edits("deviceNodes: [{path: /x, permissions: rrr}]"), "devices.0.containerEdits.deviceNodes.0.permissions", "rrr"),
    ("a negative timeout", edits("hooks: [{hookName: poststop, path: x, timeout: -1}]"), "devices.0.containerEdits.hooks.0.timeout", -1),
    ("RDT settings without content", edits("intelRdt: {}"), "devices.0.containerEdits.intelRdt", {}),
    ("the root class of RDT", edits("intelRdt: {closID: /}"), "devices.0.containerEdits.intelRdt", {"closID": "/"}),
    ("a variable without a value", env("A="), "devices.0.containerEdits.env", ["A="]),
    ("escapes of YAML", env(r'"A=\x41\u00e9\t\e\_"'), "devices.0.containerEdits.env", ["A=A\u00e9\t\x1b\u00a0"]),
    ("a folded text", env(">-\n      A=a\n      b"), "devices.0.containerEdits.env", ["A=a b"]),
    ("an unknown tag makes text", env("!foo A=5"), "devices.0.containerEdits.env", ["A=5"]),
    ("version with a v", "cdiVersion: v0.3.0\nkind: a/b\n" + DEVICE, "cdiVersion", "v0.3.0"),
    ("hostPath in 0.3.0, in all but the last device", ("cdiVersion: 0.3.0\nkind: a/b\ndevices:\n"
     "- {name: d, containerEdits: {deviceNodes: [{path: /x, hostPath: /y}]}}\n- {name: e, containerEdits: {env: [A=b]}}\n"), "cdiVersion", "0.3.0"),
    ("mount type in 0.3.0, in all but the last device", ("cdiVersion: 0.3.0\nkind: a/b\ndevices:\n"
     "- {name: d, containerEdits: {mounts: [{hostPath: /x, containerPath: /y, type: bind}]}}\n- {name: e, containerEdits: {env: [A=b]}}\n"),
     "cdiVersion", "0.3.0"),
    ("names of any length", f"cdiVersion: 1.1.0\nkind: {'v' * 300}/{'c' * 300}\n{DEVICE}", "devices.0.name", "d"),
]  # fmt: skip

OLD: Final = "kind: a/b\n" + DEVICE

REFUSED: Final[list[tuple[str, str | bytes, str, str]]] = [
    # name, text, rule, LINE:COLUMN PATH of the first error
    ("an empty file", "", "empty", "0:0 "),
    ("comments only", "# nothing\n\n", "empty", "0:0 "),
    ("null", "~", "empty", "0:0 "),
    ("an empty first document", f"---\n---\n{HEAD}{DEVICE}", "empty", "0:0 "),
    ("a list at the top", "- a", "type", "1:1 "),
    ("text at the top", "hello", "type", "1:1 "),
    ("an unknown field", f"{HEAD}{DEVICE}foo: 1\n", "unknown-field", "4:1 foo"),
    ("an unknown field that is null", f"{HEAD}{DEVICE}$schema:\n", "unknown-field", '4:1 ["$schema"]'),
    ("an unknown field deep inside", edits("deviceNodes: [{path: /x, mode: 1}]"), "unknown-field", "5:45 devices[0].containerEdits.deviceNodes[0].mode"),
    ("RDT fields of old versions", edits("intelRdt: {enableCMT: true}"), "unknown-field", "5:31 devices[0].containerEdits.intelRdt.enableCMT"),
    ("a key without a blank behind its colon", f"{HEAD}devices: [{{name:d, containerEdits: {{env: [A=b]}}}}]\n", "unknown-field",
     '3:12 devices[0]["name:d"]'),
    ("a repeated key", f"{HEAD}kind: a/b\n{DEVICE}", "duplicate-key", "3:1 "),
    ("a repeated annotation", annotated("a: 1, a: 2"), "duplicate-key", "3:21 annotations"),
    ("two spellings of one number as keys", annotated("10: 1, 0xA: 2"), "duplicate-key", "3:22 annotations"),
    ("a key that is merged and explicit", f"{HEAD}devices:\n- <<: {{name: d}}\n  name: e\n  containerEdits: {{env: [A=b]}}\n", "duplicate-key", "5:3 devices[0]"),
    ("one mapping merged twice", f"{HEAD}devices:\n- &d {{name: d, containerEdits: {{env: [A=b]}}}}\n- <<: [*d, *d]\n", "duplicate-key", "4:7 devices[1]"),
    ("a list merged through an alias", f"{HEAD}annotations: {{a: &a b}}\ndevices:\n- {{name: d, containerEdits: {{env: &l [A=b]}}}}\n- <<: *l\n", "type",
     "6:7 devices[1]"),
    ("a merge of text", f"{HEAD}{DEVICE}<<: x\n", "type", "4:5 "),
    ("a null key", annotated("~: a"), "type", "3:15 annotations"),
    ("a list as a key", annotated("[a]: b"), "type", "3:15 annotations"),
    ("a list for text", f"cdiVersion: 1.1.0\nkind: [a]\n{DEVICE}", "type", "2:7 kind"),
    ("text for a list", edits("env: A=b"), "type", "5:25 devices[0].containerEdits.env"),
    ("text for a mapping", f"{HEAD}devices: [{{name: d, containerEdits: x}}]\n", "type", "3:37 devices[0].containerEdits"),
    ("a quoted number", edits('additionalGids: ["5"]'), "type", "5:37 devices[0].containerEdits.additionalGids[0]"),
    ("a fraction for a number", edits("additionalGids: [1.5]"), "type", "5:37 devices[0].containerEdits.additionalGids[0]"),
    ("a negative group", edits("additionalGids: [-1]"), "range", "5:37 devices[0].containerEdits.additionalGids[0]"),
    ("minus zero point zero for a group", edits("additionalGids: [-0.0]"), "range", "5:37 devices[0].containerEdits.additionalGids[0]"),
    ("a group beyond 32 bits", edits("additionalGids: [4294967296]"), "range", "5:37 devices[0].containerEdits.additionalGids[0]"),
    ("text for a boolean", edits('intelRdt: {enableMonitoring: "true"}'), "type", "5:49 devices[0].containerEdits.intelRdt.enableMonitoring"),
    ("an empty device node entry", edits("deviceNodes: [~]"), "null-entry", "5:34 devices[0].containerEdits.deviceNodes[0]"),
    ("an empty mount entry", edits("mounts: [~]"), "null-entry", "5:29 devices[0].containerEdits.mounts[0]"),
    ("an empty hook entry", edits("hooks: [~]"), "null-entry", "5:28 devices[0].containerEdits.hooks[0]"),
    ("an empty network device entry", edits("netDevices: [~]"), "null-entry", "5:33 devices[0].containerEdits.netDevices[0]"),
    ("an empty device", f"{HEAD}devices: [~]\n", "device-name", "3:11 devices[0].name"),
    ("no version", OLD, "version", "1:1 cdiVersion"),
    ("a version that is none", f"cdiVersion: 0.6.1\n{OLD}", "version", "1:13 cdiVersion"),
    ("a version with two v", f"cdiVersion: vv0.6.0\n{OLD}", "version", "1:13 cdiVersion"),
    ("a version with a blank", f"cdiVersion: '0.6.0 '\n{OLD}", "version", "1:13 cdiVersion"),
    ("a version that is a fraction", f"cdiVersion: 1.1\n{OLD}", "version", "1:13 cdiVersion"),
    ("version 0.1.0", f"cdiVersion: 0.1.0\n{OLD}", "minimum-version", "1:13 cdiVersion"),
    ("version 0.2.0", f"cdiVersion: 0.2.0\n{OLD}", "minimum-version", "1:13 cdiVersion"),
    ("no kind", f"cdiVersion: 1.1.0\n{DEVICE}", "vendor", "1:1 kind"),
    ("a kind without a class", f"cdiVersion: 1.1.0\nkind: vendor\n{DEVICE}", "vendor", "2:7 kind"),
    ("a kind without a vendor", f"cdiVersion: 1.1.0\nkind: /c\n{DEVICE}", "vendor", "2:7 kind"),
    ("a vendor that begins with a digit", f"cdiVersion: 1.1.0\nkind: 3dfx.com/gpu\n{DEVICE}", "vendor", "2:7 kind"),
    ("a vendor that ends with a dash", f"cdiVersion: 1.1.0\nkind: a-/gpu\n{DEVICE}", "vendor", "2:7 kind"),
    ("a class with a slash", f"cdiVersion: 1.1.0\nkind: a/b/c\n{DEVICE}", "class", "2:7 kind"),
    ("no devices", HEAD, "no-devices", "1:1 devices"),
    ("an empty list of devices", f"{HEAD}devices: []\n", "no-devices", "3:10 devices"),
    ("a device without a name", f"{HEAD}devices: [{{containerEdits: {{env: [A=b]}}}}]\n", "device-name", "3:11 devices[0].name"),
    ("a device name with a blank", named("a b"), "device-name", "4:9 devices[0].name"),
    ("a device without edits", f"{HEAD}devices: [{{name: d}}]\n", "empty-edits", "3:11 devices[0].containerEdits"),
    ("a device with empty edits", HEAD + EMPTY, "empty-edits", "3:37 devices[0].containerEdits"),
    ("a device name twice", named("d", "d"), "duplicate-device", "6:9 devices[1].name"),
    ("a variable without =", env("A"), "env", "7:7 devices[0].containerEdits.env[0]"),
    ("a variable without a name", env("=b"), "env", "7:7 devices[0].containerEdits.env[0]"),
    ("a device node without a path", edits("deviceNodes: [{type: c}]"), "device-node", "5:34 devices[0].containerEdits.deviceNodes[0].path"),
    ("an unknown device type", edits("deviceNodes: [{path: /x, type: d}]"), "device-node", "5:51 devices[0].containerEdits.deviceNodes[0].type"),
    ("unknown permissions", edits("deviceNodes: [{path: /x, permissions: rwx}]"), "device-node",
     "5:58 devices[0].containerEdits.deviceNodes[0].permissions"),
    ("an unknown hook", edits("hooks: [{hookName: Prestart, path: /x}]"), "hook", "5:39 devices[0].containerEdits.hooks[0].hookName"),
    ("a hook without a path", edits("hooks: [{hookName: prestart}]"), "hook", "5:28 devices[0].containerEdits.hooks[0].path"),
    ("a bad variable of a hook", edits("hooks: [{hookName: prestart, path: /x, env: [A]}]"), "env", "5:65 devices[0].containerEdits.hooks[0].env[0]"),
    ("a mount without a host path", edits("mounts: [{containerPath: /x}]"), "mount", "5:29 devices[0].containerEdits.mounts[0].hostPath"),
    ("a mount without a container path", edits("mounts: [{hostPath: /x, containerPath: }]"), "mount",
     "5:44 devices[0].containerEdits.mounts[0].containerPath"),
    ("an RDT class with a slash", edits("intelRdt: {closID: a/b}"), "intel-rdt", "5:39 devices[0].containerEdits.intelRdt.closID"),
    ("an RDT class that is too long", edits(f"intelRdt: {{closID: {'x' * 4096}}}"), "intel-rdt", "5:39 devices[0].containerEdits.intelRdt.closID"),
    ("a network device without a name", edits("netDevices: [{hostInterfaceName: e}]"), "net-device", "5:33 devices[0].containerEdits.netDevices[0].name"),
    ("a host interface twice", edits("netDevices: [{hostInterfaceName: e, name: a}, {hostInterfaceName: e, name: b}]"), "net-device",
     "5:86 devices[0].containerEdits.netDevices[1].hostInterfaceName"),
    ("a tab as indentation", "a:\n\tb: c\n", "syntax", "2:1 "),
    ("an open bracket", f"{HEAD}devices: [\n", "syntax", "4:1 "),
    ("an escaped slash", env(r'"A=\/dev"'), "syntax", "7:7 "),
    ("a surrogate pair as escapes", env(r'"A=\uD83D\uDE00"'), "syntax", "7:12 "),
    ("an anchor that nobody set", env("*a"), "syntax", "7:7 "),
    ("an anchor that contains itself", f"{HEAD}devices: &a [*a]\n", "syntax", "3:14 "),
    ("%YAML 1.2", f"%YAML 1.2\n---\n{HEAD}{DEVICE}", "syntax", "1:1 "),
    ("an unknown directive", f"%FOO\n---\n{HEAD}{DEVICE}", "syntax", "1:5 "),
    ("a comment of C", f"/* x */\n{HEAD}{DEVICE}", "syntax", "2:11 "),
    ("two commas", annotated("a: 1,, b: 2"), "syntax", "3:20 "),
    ("a question mark in brackets", edits("env: [A=b?c]"), "syntax", "5:26 "),
    ("a control character", env('"A=\x07"'), "syntax", "7:10 "),
    ("bytes that are not UTF-8", HEAD.encode() + b"# \xff\n", "syntax", "3:3 "),
    ("an encoded surrogate", HEAD.encode() + b"# \xed\xa0\x80\n", "syntax", "3:3 "),
    ("a tag that does not fit", env("!!int A=b"), "type", "7:7 devices[0].containerEdits.env[0]"),
    ("a key of more than 1024 characters", "{" + '"' + "x" * 1025 + '": 1}', "syntax", "1:1029 "),
]  # fmt: skip

NEEDS: Final[list[tuple[str, str, str]]] = [
    # feature, text without a version, the least version
    ("nothing special", OLD, "0.3.0"),
    ("a mount type at the top", f"{OLD}containerEdits: {{mounts: [{{hostPath: /a, containerPath: /b, type: bind}}]}}\n", "0.4.0"),
    ("a mount type in the last device", "kind: a/b\ndevices: [{name: d, containerEdits: {mounts: [{hostPath: /a, containerPath: /b, type: bind}]}}]\n", "0.4.0"),
    ("hostPath at the top", f"{OLD}containerEdits: {{deviceNodes: [{{path: /a, hostPath: /b}}]}}\n", "0.5.0"),
    ("hostPath in the last device", "kind: a/b\ndevices: [{name: d, containerEdits: {deviceNodes: [{path: /a, hostPath: /b}]}}]\n", "0.5.0"),
    ("a device name that begins with a digit", OLD.replace("name: d", "name: 0d"), "0.5.0"),
    ("annotations", f"{OLD}annotations: {{a: b}}\n", "0.6.0"),
    ("annotations of a device", OLD.replace("name: d", "name: d, annotations: {a: b}"), "0.6.0"),
    ("empty annotations", f"{OLD}annotations: {{}}\n", "0.3.0"),
    ("a dot in the class", OLD.replace("a/b", "a/b.c"), "0.6.0"),
    ("a dot in the vendor", OLD.replace("a/b", "a.b/c"), "0.3.0"),
    ("intelRdt", f"{OLD}containerEdits: {{intelRdt: {{}}}}\n", "0.7.0"),
    ("no intelRdt", f"{OLD}containerEdits: {{intelRdt: ~}}\n", "0.3.0"),
    ("additionalGids", f"{OLD}containerEdits: {{additionalGids: [0]}}\n", "0.7.0"),
    ("schemata, though empty", f"{OLD}containerEdits: {{intelRdt: {{schemata: []}}}}\n", "1.1.0"),
    ("enableMonitoring", f"{OLD}containerEdits: {{intelRdt: {{enableMonitoring: true}}}}\n", "1.1.0"),
    ("enableMonitoring switched off", f"{OLD}containerEdits: {{intelRdt: {{enableMonitoring: false}}}}\n", "0.7.0"),
    ("netDevices", f"{OLD}containerEdits: {{netDevices: [{{hostInterfaceName: a, name: b}}]}}\n", "1.1.0"),
]  # fmt: skip
