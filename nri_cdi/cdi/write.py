"""Spec files written and removed: what a vendor's program does for its devices. CDI's producer side.

Files appear and change whole: what is written under a temporary name and renamed is never seen half.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import TYPE_CHECKING, Final

from nri_cdi.cdi.errors import InvalidName, InvalidSpec, SpecError
from nri_cdi.cdi.files import DEFAULT_DIRECTORIES
from nri_cdi.cdi.paths import clean
from nri_cdi.cdi.plain import spec_to_plain
from nri_cdi.cdi.text import to_json, to_yaml
from nri_cdi.cdi.validate import json_path, validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nri_cdi.cdi.model import Spec

_EXTENSIONS: Final = (".json", ".yaml")


def spec_file_name(kind: str, transient_id: str = "") -> str:
    """The usual name of the file for a kind, the extension left out: `vendor-class`, or `vendor-class_id`.

    The id is given for devices that live as long as something else (a claim, a pod); a `/` in it becomes `_`. Raises InvalidName.
    """
    vendor, slash, cls = kind.partition("/")
    if not (slash and vendor and cls):
        raise InvalidName(kind, "kind", "a kind is vendor/class")
    name = f"{vendor}-{cls}"
    return f"{name}_{transient_id.replace('/', '_')}" if transient_id else name


def spec_text(spec: Spec, extension: str = ".yaml") -> str:
    """The content of a file with this extension that says what `spec` says. Does not check the spec."""
    if extension == ".json":
        return to_json({**spec_to_plain(spec), "containerEdits": spec_to_plain(spec).get("containerEdits", {})})
    return to_yaml(spec_to_plain(spec))


def write_spec(spec: Spec, name: str, directories: Sequence[str] = DEFAULT_DIRECTORIES) -> str:
    """Write the spec as file `name` into the last directory, which has the highest priority; returns the path.

    A name without the extension `.json` or `.yaml` gets `.yaml`. The directory is made if it is not there (mode 0755); the file (mode 0600) replaces one
    of the same name at once. Raises InvalidSpec for a spec that nobody would load, and OSError; nothing is left behind then.
    """
    path = _path(name, directories)
    faults = validate(spec)
    if faults:
        raise InvalidSpec(
            tuple(
                SpecError(path, 0, 0, json_path(fault.place), fault.rule, fault.value, fault.message, fault.hint)
                for fault in faults
            )
        )
    directory = os.path.dirname(path)  # noqa: PTH120 - as CDI has it: by text
    os.makedirs(directory, 0o755, exist_ok=True)  # noqa: PTH103 - as above
    descriptor, temporary = tempfile.mkstemp(".tmp", "spec.", directory)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(spec_text(spec, os.path.splitext(path)[1]))  # noqa: PTH122 - as above
            file.flush()
            os.fsync(file.fileno())  # a file that is there after a crash is whole
        os.replace(temporary, path)  # noqa: PTH105 - as above
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108 - as above
        raise
    return path


def remove_spec(name: str, directories: Sequence[str] = DEFAULT_DIRECTORIES) -> None:
    """Remove what `write_spec` wrote under this name. A file that is not there is no error. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(name, directories))  # noqa: PTH108 - as above


def _path(name: str, directories: Sequence[str]) -> str:
    file = name if name.endswith(_EXTENSIONS) else f"{name}.yaml"
    if not name or "/" in name:
        raise InvalidName(name, "file name", "a spec file is named without its directory, for example vendor.com-gpu")
    return os.path.join(clean((directories or DEFAULT_DIRECTORIES)[-1]), file)  # noqa: PTH118 - as above
