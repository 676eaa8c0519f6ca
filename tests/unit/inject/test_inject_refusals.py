"""Every reason for a refusal: how it comes about, that its text says all a person needs, and that nothing is changed with it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from nri_cdi.allocation import key_name, mark_key
from nri_cdi.cdi import (
    ContainerEdits,
    Device,
    DeviceNode,
    DirectoryState,
    HostNode,
    IntelRdt,
    Mount,
    NetDevice,
    RejectedFile,
    Rule,
    Scan,
    Snapshot,
    Spec,
    SpecDirectory,
    SpecError,
    SpecFile,
    nearest,
)
from nri_cdi.inject.refusals import Reason, Refusal
from nri_cdi.inject.runtime import UNKNOWN
from nri_cdi.nri import Event, Refused, Version, api
from nri_cdi.testing.containers import KIND, Host, injector, snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nri_cdi.inject import InjectPlugin

NAME = key_name(bytes(16))
KEY = f"cdi.k8s.io/{NAME}"
NAMES = f"{KIND}=a"
GUARD = api.Mount(destination=f"/.nri-cdi/{NAME} some sentence of another release", source="/dev/null")
NODE = ContainerEdits(device_nodes=(DeviceNode("/dev/x"),))
NOTHING_SPECIAL = ContainerEdits(env=("A=1",))
OLD, NEW = Version(0, 6, 1), Version(0, 12, 0)


def broken_scan(_patience: float) -> Snapshot | None:
    raise RuntimeError("a bug")


@dataclass(frozen=True)
class Case:
    """A container that is refused, on a node where the device `a` has these edits; `says` are parts of the text."""

    reason: Reason
    says: tuple[str, ...]
    container: api.Container
    edits: ContainerEdits = NOTHING_SPECIAL
    smuggled: bool = False
    event: Event = Event.CREATE_CONTAINER
    nri: Version = NEW
    host: Host | None = None


def carrying(value: str = NAMES, key: str = KEY, mounts: Sequence[api.Mount] = (), name: str = "") -> api.Container:
    return api.Container(name=name, annotations={key: value}, mounts=mounts)


def inexpressible(says: str, edits: ContainerEdits) -> Case:
    says_all = (NAMES, says, "containerd 2.x (NRI 0.6.1)", "use a spec without it")
    return Case(Reason.INEXPRESSIBLE, says_all, carrying(), edits, nri=OLD)


CASES = {
    "an empty value": Case(Reason.MALFORMED_ANNOTATION, (KEY, "correct"), carrying("")),
    "a comma at the end": Case(Reason.MALFORMED_ANNOTATION, (KEY, "without blanks"), carrying(f"{NAMES},")),
    "blanks": Case(Reason.MALFORMED_ANNOTATION, (KEY, "without blanks"), carrying(f"{NAMES}, {NAMES}")),
    "a value of 256 KiB": Case(Reason.MALFORMED_ANNOTATION, (KEY, "without blanks"), carrying("x" * 2**18)),
    "a foreign key's value": Case(
        Reason.MALFORMED_ANNOTATION, ("cdi.k8s.io/other", "correct"), carrying("x", "cdi.k8s.io/other")
    ),
    "no such device": Case(
        Reason.UNRESOLVABLE_DEVICE,
        (f"{KIND}=zz", "/etc/cdi/vendor.yaml", "nri-cdi cdi devices"),
        carrying(f"{KIND}=zz"),
    ),
    "no such vendor": Case(
        Reason.UNRESOLVABLE_DEVICE, ("other.com/x=0", "searched /etc/cdi"), carrying("other.com/x=0")
    ),
    "20 000 names that do not resolve": Case(
        Reason.UNRESOLVABLE_DEVICE,
        (f"{KIND}=n0", "19999 other names"),
        carrying(",".join(f"{KIND}=n{i}" for i in range(20000))),
    ),
    "a device node that is not there": Case(
        Reason.DEVICE_NODE_MISSING, (NAMES, "/dev/x", "is the driver loaded?"), carrying(), NODE
    ),
    "a device node that is not visible": Case(
        Reason.DEVICE_NODE_MISSING,
        (NAMES, "/dev/x is not visible", "--host-root"),
        carrying(),
        NODE,
        host=Host(hidden=["/dev/x"]),
    ),
    "a device node of another type": Case(
        Reason.DEVICE_NODE_MISSING,
        (NAMES, "/dev/x", "type mismatch"),
        carrying(),
        ContainerEdits(device_nodes=(DeviceNode("/dev/x", type="b"),)),
        host=Host({"/dev/x": HostNode("c", 1, 2, 0o666)}),
    ),
    "a mount source that is not there": Case(
        Reason.MOUNT_SOURCE_MISSING,
        (NAMES, "no /lib/v.so on the host", "install"),
        carrying(),
        ContainerEdits(mounts=(Mount("/lib/v.so", "/v.so", ("bind",)),)),
    ),
    "intelRdt": inexpressible("intelRdt", ContainerEdits(intel_rdt=IntelRdt())),
    "netDevices": inexpressible('"eth7" (netDevices)', ContainerEdits(net_devices=(NetDevice("eth7", "eth0"),))),
    "additionalGids": inexpressible("additionalGids", ContainerEdits(additional_gids=(44,))),
    "a device node of type u": inexpressible(
        '/dev/u of type "u"', ContainerEdits(device_nodes=(DeviceNode("/dev/u", type="u", major=1),))
    ),
    "a device node of type p": inexpressible(
        '/dev/p of type "p"', ContainerEdits(device_nodes=(DeviceNode("/dev/p", type="p"),))
    ),
    "narrowed permissions": inexpressible(
        "only r for the device node /dev/x",
        ContainerEdits(device_nodes=(DeviceNode("/dev/x", type="c", major=1, permissions="r"),)),
    ),
    "a variable like a removal mark": inexpressible('variable "-A"', ContainerEdits(env=("-A=1",))),
    "a destination like a removal mark": inexpressible('mount "-/x"', ContainerEdits(mounts=(Mount("/dev", "-/x"),))),
    "a device path like a removal mark": inexpressible(
        'device node "-/dev/x"', ContainerEdits(device_nodes=(DeviceNode("-/dev/x", type="c", major=1),))
    ),
    "a key that stands on the pod too": Case(
        Reason.SMUGGLED_KEY,
        (NAMES, KEY, "remove it from the pod"),
        carrying(),
        smuggled=True,
    ),
    "a guard without its key": Case(
        Reason.GUARD_WITHOUT_KEY,
        (NAME, "delete the pod", "the --annotation-prefix that is read here: cdi.k8s.io/"),
        api.Container(mounts=[GUARD]),
    ),
    "a guard with another key": Case(
        Reason.GUARD_WITHOUT_KEY,
        (NAME, "delete the pod"),
        carrying(key="cdi.k8s.io/" + key_name(b"x" * 16), mounts=[GUARD]),
    ),
    "a key of a newer release": Case(
        Reason.UNKNOWN_FORMAT, (NAMES, "nri-cdi.v2_x", "newer release"), carrying(key="cdi.k8s.io/nri-cdi.v2_x")
    ),
    "a guard of a newer release beside ours": Case(
        Reason.UNKNOWN_FORMAT,
        ("nri-cdi.v12_x", "newer release"),
        carrying(mounts=[GUARD, api.Mount(destination="/.nri-cdi/nri-cdi.v12_x text")]),
    ),
    "a mark that says something else, and one that is missing": Case(
        Reason.SPECS_UNSETTLED,
        (NAMES, "changing at this moment", "tried again"),
        api.Container(annotations={KEY: NAMES, mark_key(NAME): "other", f"{KEY[:-1]}1": NAMES}),
    ),
    "a start without a mark": Case(
        Reason.NOT_INJECTED, (NAMES, "created without", "delete the pod"), carrying(), event=Event.START_CONTAINER
    ),
    "a start without something promised": Case(
        Reason.PROMISE_BROKEN,
        (NAMES, "2 of the things", "another NRI plugin"),
        api.Container(annotations={KEY: NAMES, mark_key(NAME): "aaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbb"}),
        event=Event.START_CONTAINER,
    ),
}

ELSEWHERE = {
    Reason.SPECS_UNSETTLED: "test_specs_that_do_not_settle_refuse_a_container_of_ours",
    Reason.OVERDUE: "test_a_decision_that_does_not_come_is_a_refusal_that_says_whose",
    Reason.INTERNAL: "test_a_bug_of_ours_is_a_refusal",
    Reason.POLICY_DENIED: "test_inject_policy",
}


def refusal(refused: pytest.ExceptionInfo[Refused]) -> Refusal:
    cause = refused.value.__cause__
    assert isinstance(cause, Refusal)
    return cause


def complete(text: str) -> None:
    """What each refusal's text has: the container, the pod; one line that an event shows whole."""
    assert text.startswith("nri-cdi: ")
    assert 'container "main" of pod "ns/p"' in text
    assert len(text) < 850
    assert text.isprintable()


def ask(case: Case, plugin: InjectPlugin) -> None:
    pod = api.PodSandbox(name="p", namespace="ns", annotations={KEY: "x"} if case.smuggled else {})
    case.container.name = "main"
    if case.event is Event.CREATE_CONTAINER:
        plugin.create_container(api.CreateContainerRequest(pod=pod, container=case.container))
    else:
        plugin.state_change(case.event, pod, case.container)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_container_is_refused_with_a_text_that_says_what_and_what_to_do(case: Case) -> None:
    plugin = injector(snapshot({"a": case.edits}), case.nri, case.host)
    with pytest.raises(Refused) as refused:
        ask(case, plugin)
    assert refusal(refused).reason is case.reason
    complete(refused.value.message)
    for part in case.says:
        assert part in refused.value.message


def test_every_reason_has_a_case() -> None:
    assert {case.reason for case in CASES.values()} | set(ELSEWHERE) == set(Reason)


REQUEST = api.CreateContainerRequest(pod=api.PodSandbox(name="p", namespace="ns"), container=carrying(name="main"))


def test_specs_that_do_not_settle_refuse_a_container_of_ours() -> None:
    with pytest.raises(Refused) as refused:
        injector(None).create_container(REQUEST)
    assert refusal(refused).reason is Reason.SPECS_UNSETTLED
    complete(refused.value.message)
    assert NAMES in refused.value.message


def test_a_bug_of_ours_is_a_refusal() -> None:
    plugin = injector(None)
    plugin._current = broken_scan
    with pytest.raises(Refused, match="internal error: RuntimeError: a bug; please report it") as refused:
        plugin.create_container(REQUEST)
    assert refusal(refused).reason is Reason.INTERNAL
    complete(refused.value.message)


FORMS = {
    "CreateContainer": REQUEST,
    "StartContainer": api.StartContainerRequest(pod=REQUEST.pod, container=REQUEST.container),
    "StateChange": api.StateChangeEvent(event=api.START_CONTAINER, pod=REQUEST.pod, container=REQUEST.container),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_decision_that_does_not_come_is_a_refusal_that_says_whose(form: str) -> None:
    event = Event.CREATE_CONTAINER if form == "CreateContainer" else Event.START_CONTAINER
    refused = injector(None).overdue(
        event, FORMS[form].SerializeToString(), state_change=isinstance(FORMS[form], api.StateChangeEvent)
    )
    assert refused is not None
    complete(refused.message)
    assert NAMES in refused.message
    assert "dead network file system" in refused.message


def test_the_refusal_of_an_overdue_request_does_not_raise_over_any_bytes() -> None:
    refused = injector(None).overdue(Event.CREATE_CONTAINER, b"\xff\x00", state_change=False)
    assert refused is not None
    assert refused.message.startswith("nri-cdi: ")


def test_a_refusal_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nri_cdi.inject"), pytest.raises(Refused) as refused:
        injector(None).create_container(REQUEST)
    assert f"{refused.value.message} (specs-unsettled)" in caplog.text


def test_a_runtime_that_has_not_introduced_itself_can_do_nothing_special() -> None:
    assert (UNKNOWN.mount_removal, UNKNOWN.device_rules) == (False, False)


def test_the_file_that_was_rejected_is_named() -> None:
    fault = SpecError("/etc/cdi/bad.yaml", 3, 1, "", Rule.SYNTAX, None, "not YAML: " + "x" * 5000, "correct it")
    node = snapshot({"a": ContainerEdits()}, rejected=[RejectedFile("/etc/cdi/bad.yaml", 0, (fault,), "other.com/x")])
    request = api.CreateContainerRequest(container=carrying("other.com/x=0", name="main"))
    request.pod.name, request.pod.namespace = "p", "ns"
    with pytest.raises(Refused, match=r"/etc/cdi/bad\.yaml") as refused:
        injector(node).create_container(request)
    complete(refused.value.message)


def test_a_refusal_among_10_000_devices_looks_at_few_of_them_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is rendered while the container waits: some 3 ms, where a comparison takes 5 us."""
    devices = tuple(Device(f"device_{i}", ContainerEdits(env=("A=1",))) for i in range(10_000))
    scan = Scan(
        (SpecDirectory("/etc/cdi", 0, DirectoryState.PRESENT),),
        (SpecFile("/etc/cdi/v.json", 0, Spec("1.0.0", KIND, devices), ()),),
    )
    compared = []
    distance = nearest._distance

    def counted(left: str, right: str, reach: int) -> int:
        compared.append(right)
        return distance(left, right, reach)

    monkeypatch.setattr(nearest, "_distance", counted)
    request = api.CreateContainerRequest(container=carrying(",".join(f"{KIND}=device_{i}x" for i in range(777, 1777))))
    with pytest.raises(Refused, match=r"device_777x.*did you mean.*device_777"):
        injector(Snapshot.build(scan)).create_container(request)
    assert 0 < len(compared) <= 250
