"""What can go wrong with CDI, as values with fields; `str()` renders each of them once, for people.

Everything this package raises on purpose is a `CDIError`. A text says what happened, where, and what to do about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_SHOWN_NAMES: Final = 16
"""How many names or paths one text lists before it says how many more there are: events and logs cut long lines."""


class CDIError(Exception):
    """The root of all errors of this package."""


class Rule(StrEnum):
    """The rule that a spec file breaks. The values are stable: they appear in JSON output."""

    UNREADABLE = "unreadable"
    SYNTAX = "syntax"
    EMPTY = "empty"
    DUPLICATE_KEY = "duplicate-key"
    UNKNOWN_FIELD = "unknown-field"
    TYPE = "type"
    RANGE = "range"
    NULL_ENTRY = "null-entry"
    VERSION = "version"
    MINIMUM_VERSION = "minimum-version"
    VENDOR = "vendor"
    CLASS = "class"
    DEVICE_NAME = "device-name"
    DUPLICATE_DEVICE = "duplicate-device"
    NO_DEVICES = "no-devices"
    EMPTY_EDITS = "empty-edits"
    ENV = "env"
    DEVICE_NODE = "device-node"
    HOOK = "hook"
    MOUNT = "mount"
    INTEL_RDT = "intel-rdt"
    NET_DEVICE = "net-device"
    CONFLICT = "conflict"


@dataclass(unsafe_hash=True)
class SpecError(CDIError):
    """One fault of one spec file (or spec directory).

    `line` and `column` count from 1; 0 means that the fault has no place in the text. `json_path` is `devices[0].name`, empty for
    the whole file. `value` is the offending value as text, None where there is none. `hint` says what to do.
    """

    path: str
    line: int
    column: int
    json_path: str
    rule: Rule
    value: str | None
    message: str
    hint: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}" if self.line else self.path
        where = f"{place}: {self.json_path}" if self.json_path else place
        return f"{where}: {self.message}; {self.hint}" if self.hint else f"{where}: {self.message}"

    def to_plain(self) -> dict[str, str | int | None]:
        """The fields under their JSON names, for `json.dumps`."""
        return {
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "jsonPath": self.json_path,
            "rule": self.rule.value,
            "value": self.value,
            "message": self.message,
            "hint": self.hint,
        }


@dataclass
class InvalidSpec(CDIError):
    """A spec file that the rules refuse, with all its faults (at least one), the first being the one that decides."""

    errors: tuple[SpecError, ...]

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


@dataclass
class InvalidName(CDIError):
    """A text that is not a qualified device name, or a part of one that breaks its grammar.

    `part` is `vendor`, `class` or `device`, or `qualified name` when the text does not even have the three parts.
    """

    text: str
    part: str
    reason: str

    def __str__(self) -> str:
        return f'"{self.text}": {self.reason}'


@dataclass
class AnnotationError(CDIError):
    """An annotation that cannot be read, or cannot be made."""

    key: str
    reason: str

    def __str__(self) -> str:
        return f'CDI annotation "{self.key}": {self.reason}'


@dataclass
class InjectionError(CDIError):
    """Edits that cannot be applied. `subject` names the part (a device node, a field of the OCI spec); nothing was changed."""

    subject: str
    reason: str

    def __str__(self) -> str:
        return f"failed to inject devices: {self.subject}: {self.reason}"


class Why(StrEnum):
    """Why a name does not resolve. The values are stable: they appear in JSON output."""

    INVALID_NAME = "invalid-name"
    NO_VENDOR = "no-such-vendor"
    NO_KIND = "no-such-kind"
    NO_DEVICE = "no-such-device"
    CONFLICT = "conflict"
    REJECTED_FILE = "rejected-file"


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why one name does not resolve.

    `paths` are the files that matter (the conflicting ones, the rejected ones, those that define the kind), `nearest` are similar
    names that would resolve, `rejected` the first error of each rejected file that may have defined the name.
    """

    name: str
    why: Why
    reason: str
    paths: tuple[str, ...] = ()
    nearest: tuple[str, ...] = ()
    rejected: tuple[SpecError, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.explanation}"

    @property
    def explanation(self) -> str:
        """All but the name."""
        text = self.reason
        if self.nearest:
            text += f" (did you mean {' or '.join(self.nearest)}?)"
        if self.rejected:
            text += f"; rejected: {listed([str(error) for error in self.rejected], ' | ')}"
        return text

    def to_plain(self) -> dict[str, object]:
        """The fields under their JSON names, for `json.dumps`."""
        return {
            "name": self.name,
            "why": self.why.value,
            "reason": self.reason,
            "paths": list(self.paths),
            "nearest": list(self.nearest),
            "rejected": [error.to_plain() for error in self.rejected],
        }


@dataclass
class UnresolvedDevices(CDIError):
    """Names that do not resolve. `names` in request order, repeats included; `details` once for each different name."""

    names: tuple[str, ...]
    details: tuple[Unresolved, ...]
    searched: tuple[str, ...]

    def __str__(self) -> str:
        one = len(self.details) == 1  # it is named at the start already
        reasons = "; ".join(detail.explanation if one else str(detail) for detail in self.details[:_SHOWN_NAMES])
        return f"unresolvable CDI devices {', '.join(self.names)}: {reasons} (searched {listed(self.searched) or 'nothing'})"

    def to_plain(self) -> dict[str, object]:
        """The fields under their JSON names, for `json.dumps`."""
        return {
            "names": list(self.names),
            "details": [detail.to_plain() for detail in self.details],
            "searched": list(self.searched),
        }


def listed(texts: list[str] | tuple[str, ...], separator: str = ", ") -> str:
    """The texts joined, the tail of a long list as a count."""
    shown = separator.join(texts[:_SHOWN_NAMES])
    return f"{shown} and {len(texts) - _SHOWN_NAMES} more" if len(texts) > _SHOWN_NAMES else shown
