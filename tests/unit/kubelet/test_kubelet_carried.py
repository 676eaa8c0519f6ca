"""Checkpoints that no kubelet writes."""

from __future__ import annotations

import pytest

from nri_cdi.kubelet.carried import UnreadableCheckpoint, carried, devices_in


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="a list"),
        pytest.param('{"Data":' + "[" * 100_000, id="deeper than anybody reads"),
        pytest.param('{"Data": {"PodDeviceEntries": 5}}', id="no list of entries"),
        pytest.param('{"Data": {"PodDeviceEntries": [{"ResourceName": "x", "DeviceIDs": null}]}}', id="no devices"),
    ],
)
def test_whatever_a_checkpoint_has_that_is_none_it_is_unreadable(text: str) -> None:
    with pytest.raises(UnreadableCheckpoint, match="not a device plugin checkpoint as it is known"):
        devices_in(text)
    with pytest.raises(UnreadableCheckpoint, match="not a device plugin checkpoint as it is known"):
        carried(text)
