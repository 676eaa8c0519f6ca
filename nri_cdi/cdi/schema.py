"""A JSON schema (draft 7) of CDI spec files, for editors and checks.

It says what a well-written file looks like. Every file that it accepts means to a reader what it seems to mean; the library also accepts others (names
that are numbers, keys in another case), which are better not written.
"""

from __future__ import annotations

from typing import Any, Final

from nri_cdi.cdi.convert import UINT32_MAX
from nri_cdi.cdi.nodes import TYPES
from nri_cdi.cdi.scalars import INT64_MAX, INT64_MIN
from nri_cdi.cdi.validate import HOOK_NAMES, NO_PERMISSIONS
from nri_cdi.cdi.versions import EARLIEST, VERSIONS

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_PATH: Final[Schema] = {"type": "string", "minLength": 1}
_ID: Final[Schema] = {"type": "integer", "minimum": 0, "maximum": UINT32_MAX}
_NUMBER: Final[Schema] = {"type": "integer", "minimum": INT64_MIN, "maximum": INT64_MAX}
_PART: Final = "[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?"


def _with(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def _list(items: Schema, description: str) -> Schema:
    return {"type": "array", "items": items, "description": description}


def _object(required: tuple[str, ...], **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**schema, "required": list(required)} if required else schema


_ENV: Final = _list({"type": "string", "pattern": "^[^=]+="}, "Environment variables, NAME=VALUE.")
_ANNOTATIONS: Final[Schema] = {"type": "object", "additionalProperties": _TEXT}

SCHEMA: Final[Schema] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "CDI spec",
    "description": "A file in /etc/cdi or /var/run/cdi: what containers get with a device.",
    **_object(
        ("cdiVersion", "kind", "devices"),
        cdiVersion={
            "enum": [f"{v}{version}" for v in ("", "v") for version in VERSIONS[VERSIONS.index(EARLIEST) :]],
            "description": "The version of the specification; at least the one that the features in use need.",
        },
        kind={"type": "string", "pattern": f"^{_PART}/{_PART}$", "description": "vendor/class, as vendor.com/gpu."},
        annotations=_with(_ANNOTATIONS, "Notes about the spec (0.6.0)."),
        devices={
            "type": "array",
            "minItems": 1,
            "items": {"$ref": "#/definitions/device"},
            "description": "The devices; each can be asked for as vendor/class=name.",
        },
        containerEdits=_with(
            {"allOf": [{"$ref": "#/definitions/edits"}]}, "What a container gets with any of the devices."
        ),
    ),
    "definitions": {
        "device": _object(
            ("name", "containerEdits"),
            name={
                "type": "string",
                "pattern": "^[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?$",
                "description": "The name behind the `=`; in quotes if it looks like a number or like yes or no.",
            },
            annotations=_with(_ANNOTATIONS, "Notes about the device (0.6.0)."),
            containerEdits={"allOf": [{"$ref": "#/definitions/edits"}], "minProperties": 1},
        ),
        "edits": _object(
            (),
            env=_ENV,
            deviceNodes=_list({"$ref": "#/definitions/deviceNode"}, "Device nodes."),
            netDevices=_list(
                _object(
                    ("hostInterfaceName", "name"),
                    hostInterfaceName=_with(_PATH, "The interface on the host."),
                    name=_with(_PATH, "Its name in the container."),
                ),
                "Network interfaces that move into the container (1.1.0).",
            ),
            hooks=_list({"$ref": "#/definitions/hook"}, "OCI hooks."),
            mounts=_list({"$ref": "#/definitions/mount"}, "Mounts."),
            intelRdt=_with({"$ref": "#/definitions/intelRdt"}, "Resource Director Technology (0.7.0)."),
            additionalGids=_list(_ID, "Groups of the container's process (0.7.0); 0 is left out."),
        ),
        "deviceNode": _object(
            ("path",),
            path=_with(_PATH, "The path in the container."),
            hostPath=_with(_TEXT, "The path on the host, if it is another (0.5.0)."),
            type={"enum": ["", *TYPES], "description": "b, c, u or p; the host's if left out."},
            major=_with(_NUMBER, "The host's if left out."),
            minor=_with(_NUMBER, "The host's if left out."),
            fileMode=_with(_ID, "Permission bits; in YAML with a leading 0 for octal. The host's if left out."),
            permissions={
                "type": "string",
                "pattern": f"^([rwm]*|{NO_PERMISSIONS})$",
                "description": "What the container may do: letters of rwm, or none. All if left out.",
            },
            uid=_with(_ID, "The owner in the container."),
            gid=_with(_ID, "The group in the container."),
        ),
        "mount": _object(
            ("hostPath", "containerPath"),
            hostPath=_with(_PATH, "What is mounted."),
            containerPath=_with(_PATH, "Where in the container."),
            options=_list(_TEXT, "Mount options, as ro and bind."),
            type=_with(_TEXT, "The file system (0.4.0)."),
        ),
        "hook": _object(
            ("hookName", "path"),
            hookName={"enum": list(HOOK_NAMES), "description": "When the hook runs."},
            path=_with(_PATH, "The program on the host."),
            args=_list(_TEXT, "Its arguments, the program's name first."),
            env=_ENV,
            timeout=_with(_NUMBER, "Seconds."),
        ),
        "intelRdt": _object(
            (),
            closID={
                "type": "string",
                "maxLength": 4095,
                "pattern": "^(/|(?!\\.{1,2}$)[^/\\n]*)$",
                "description": "The class of service.",
            },
            l3CacheSchema=_TEXT,
            memBwSchema=_TEXT,
            schemata=_list(_TEXT, "Lines of the schemata file (1.1.0)."),
            enableMonitoring={"type": "boolean", "description": "Monitor this container by itself (1.1.0)."},
        ),
    },
}
"""The schema as JSON data."""
