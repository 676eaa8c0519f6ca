from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from nri_cdi.inject.concern import Concern
from nri_cdi.nri import api

if TYPE_CHECKING:
    from google.protobuf.message import Message

PREFIX = "cdi.k8s.io/"
GUARD = "/.nri-cdi/nri-cdi.v1_00000000000000000000000000000000 sentence"
CONCERN = Concern(PREFIX)


def encoded(pod: api.PodSandbox, container: api.Container, *, state_change: bool) -> bytes:
    if state_change:
        return api.StateChangeEvent(event=api.START_CONTAINER, pod=pod, container=container).SerializeToString()
    return api.CreateContainerRequest(pod=pod, container=container).SerializeToString()


texts = st.one_of(
    st.text(max_size=8),
    st.builds(
        "{}{}".format,
        st.sampled_from([PREFIX, "cdi.k8s.io", "x" + PREFIX, f"{GUARD}", "/.nri-cdi"]),
        st.text(max_size=3),
    ),
)
maps = st.dictionaries(texts, texts, max_size=3)
mounts = st.builds(api.Mount, destination=texts, source=texts, options=st.lists(texts, max_size=2))
pods = st.builds(api.PodSandbox, name=texts, labels=maps, annotations=maps, pid=st.integers(0, 2**32 - 1))
containers = st.builds(
    api.Container,
    name=texts,
    labels=maps,
    annotations=maps,
    args=st.lists(texts, max_size=2),
    env=st.lists(texts, max_size=2),
    mounts=st.lists(mounts, max_size=3),
    created_at=st.integers(-(2**63), 2**63 - 1),
)


def is_ours(container: api.Container) -> bool:
    return any(key.startswith(PREFIX) for key in container.annotations) or any(
        mount.destination.startswith("/.nri-cdi/") for mount in container.mounts
    )


@pytest.mark.parametrize("state_change", [False, True])
@given(pods, containers)
def test_a_container_is_ours_exactly_if_it_has_a_key_or_a_guard(
    state_change: bool,  # noqa: FBT001  # a parameter of the test
    pod: api.PodSandbox,
    container: api.Container,
) -> None:
    payload = encoded(pod, container, state_change=state_change)
    assert CONCERN(payload, state_change=state_change) is is_ours(container)


NEAR_MISSES = {
    "a variable": (api.PodSandbox(), api.Container(env=[f"A={PREFIX}x"])),
    "an argument": (api.PodSandbox(), api.Container(args=[f"--annotation={PREFIX}x={GUARD}"])),
    "a label's key": (api.PodSandbox(), api.Container(labels={f"{PREFIX}x": "a"})),
    "an annotation's value": (api.PodSandbox(), api.Container(annotations={"a": f"{PREFIX}x"})),
    "an annotation's key, but not at its start": (api.PodSandbox(), api.Container(annotations={f"x.{PREFIX}": "a"})),
    "the pod's annotations only": (api.PodSandbox(annotations={f"{PREFIX}x": "vendor.com/dev=a"}), api.Container()),
    "a mount's source": (api.PodSandbox(), api.Container(mounts=[api.Mount(destination="/x", source=GUARD)])),
    "the guards' parent alone": (api.PodSandbox(), api.Container(mounts=[api.Mount(destination="/.nri-cdi")])),
}


@pytest.mark.parametrize("state_change", [False, True])
@pytest.mark.parametrize(("pod", "container"), NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_the_prefix_elsewhere_makes_no_container_ours(
    pod: api.PodSandbox,
    container: api.Container,
    state_change: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    assert CONCERN(encoded(pod, container, state_change=state_change), state_change=state_change) is False


noise = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from(
            [
                PREFIX.encode(),
                GUARD.encode(),
                b"\x12",
                b"\x1a",
                b"\x32",
                b"\x4a",
                b"\x0a",
                b"\x0b",
                b"\xff" * 11,
                b"\x09",
                b"\x0d",
            ]
        ),
        max_size=8,
    ).map(b"".join),
)


@given(noise, st.booleans())
def test_any_bytes_get_an_answer(
    payload: bytes,
    state_change: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    assert CONCERN(payload, state_change=state_change) in {True, False}


@pytest.mark.parametrize("state_change", [False, True])
@settings(max_examples=40)
@given(pods, containers, st.data())
def test_a_key_in_bytes_that_do_not_decode_is_still_ours(
    state_change: bool,  # noqa: FBT001  # a parameter of the test
    pod: api.PodSandbox,
    container: api.Container,
    data: st.DataObject,
) -> None:
    """What cannot be read is refused later, not passed."""
    container.annotations[f"{PREFIX}x"] = "vendor.com/dev=a"
    payload = encoded(pod, container, state_change=state_change)
    cut = payload[: data.draw(st.integers(0, len(payload)))]
    form: type[Message] = api.StateChangeEvent if state_change else api.CreateContainerRequest
    try:
        form.FromString(cut)
    except DecodeError:
        if PREFIX.encode() in cut or b"/.nri-cdi/" in cut:
            assert CONCERN(cut, state_change=state_change) is True


def test_a_request_without_the_bytes_in_question_is_not_even_read() -> None:
    assert CONCERN(b"\xff" * 100, state_change=False) is False


def test_another_prefix_is_another_owner() -> None:
    container = api.Container(annotations={f"{PREFIX}x": "vendor.com/dev=a"})
    payload = encoded(api.PodSandbox(), container, state_change=False)
    assert Concern("nri.example.com/")(payload, state_change=False) is False
