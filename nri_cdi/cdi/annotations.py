"""CDI devices in annotations: `cdi.k8s.io/<anything>: vendor/class=a,vendor/class=b`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from nri_cdi.cdi.errors import AnnotationError, InvalidName
from nri_cdi.cdi.names import parse_qualified_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX: Final = "cdi.k8s.io/"
"""What makes an annotation a CDI annotation; the rest of its key means nothing."""

_NAME_MAX: Final = 63
"""Kubernetes' limit for the part of an annotation key behind the `/`, in bytes."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")


def parse(annotations: Mapping[str, str], prefix: str = PREFIX) -> tuple[str, ...]:
    """The qualified names of all CDI annotations: keys in sorted order, names as they stand in each value, repeats kept.

    The order between keys is our choice (the reference library's is random). Raises AnnotationError for the first bad value.
    """
    return tuple(
        name for key in sorted(annotations) if key.startswith(prefix) for name in parse_value(key, annotations[key])
    )


def parse_value(key: str, value: str) -> tuple[str, ...]:
    """The qualified names of one annotation's value; split at commas, nothing trimmed.

    Raises AnnotationError if one of them is no qualified name (the empty value and a comma at the end are such).
    """
    names = tuple(value.split(","))
    for name in names:
        try:
            parse_qualified_name(name)
        except InvalidName as error:
            raise AnnotationError(
                key,
                f'invalid CDI device name "{name}": {error.reason}; the value is names joined by commas, without blanks',
            ) from error
    return names


def key_for(plugin: str, device_id: str) -> str:
    """The annotation key of a device plugin's device. Raises AnnotationError where Kubernetes would refuse the key."""
    key = f"{PREFIX}{plugin}_{device_id.replace('/', '_')}"
    name = key.removeprefix(PREFIX)
    if not plugin or not device_id:
        raise AnnotationError(key, "the plugin name and the device id must both be given")
    if len(name.encode(errors="surrogatepass")) > _NAME_MAX:
        raise AnnotationError(
            key, f'the part "{name}" is longer than {_NAME_MAX} bytes; use a shorter plugin name or device id'
        )
    if not _NAME.fullmatch(name):
        raise AnnotationError(
            key,
            f'the part "{name}" must begin and end with an ASCII letter or digit and have only these and _ - . between',
        )
    return key


def update(annotations: Mapping[str, str], plugin: str, device_id: str, names: Sequence[str]) -> dict[str, str]:
    """New annotations with the key of this device added. Raises AnnotationError (a key in use, a name that is not qualified)."""
    key = key_for(plugin, device_id)
    if key in annotations:
        raise AnnotationError(key, "already used; one key is for one plugin and device")
    value = ",".join(names)
    if names:
        parse_value(key, value)
    return {**annotations, key: value}
