"""Hypothesis strategies for CDI: names, edits, specs, scans, OCI specs. Everything they make is valid unless the name says otherwise."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from nri_cdi.cdi import (
    ContainerEdits,
    Device,
    DeviceNode,
    DirectoryState,
    Hook,
    IntelRdt,
    Mount,
    NetDevice,
    RejectedFile,
    Rule,
    Scan,
    Spec,
    SpecDirectory,
    SpecError,
    SpecFile,
)
from nri_cdi.cdi.validate import HOOK_NAMES

_text = st.text(max_size=3)
_word = st.sampled_from(["a", "b2", "vendor.com", "x-1_y.Z9", "gpu"])
_id = st.integers(0, 2**32 - 1)
_optional_id = st.none() | _id
_path = st.builds("/{}".format, _word)
_env = st.builds("{}={}".format, st.sampled_from(["A", "B", "PATH", "LD_LIBRARY_PATH"]), _text)

kinds = st.builds("{}/{}".format, _word, _word)
device_names = st.sampled_from(["0", "gpu0", "0x10", "1.10", "y", "a:b_c-d.e", "GPU-8f1"])
qualified_names = st.builds("{}={}".format, kinds, device_names)

device_nodes = st.builds(
    DeviceNode,
    path=_path,
    host_path=st.just("") | _path,
    type=st.sampled_from(["", "b", "c", "u", "p"]),
    major=st.integers(0, 300),
    minor=st.integers(0, 300),
    file_mode=st.none() | st.integers(0, 0o7777),
    permissions=st.sampled_from(["", "none", "r", "rw", "rwm"]),
    uid=_optional_id,
    gid=_optional_id,
)
mounts = st.builds(
    Mount,
    host_path=_path,
    container_path=st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "rel", "//x//y"]),
    options=st.lists(st.sampled_from(["ro", "bind", "rbind", "idmap", "ridmap"]), max_size=3).map(tuple),
    type=st.sampled_from(["", "bind", "tmpfs"]),
)
hooks = st.builds(
    Hook,
    hook_name=st.sampled_from(HOOK_NAMES),
    path=_path,
    args=st.lists(_text, max_size=2).map(tuple),
    env=st.lists(_env, max_size=2).map(tuple),
    timeout=st.none() | st.integers(-1, 100),
)
intel_rdts = st.builds(
    IntelRdt,
    clos_id=st.sampled_from(["", "/", "class"]),
    l3_cache_schema=_text,
    mem_bw_schema=_text,
    schemata=st.none() | st.lists(_text, max_size=2).map(tuple),
    enable_monitoring=st.booleans(),
)
_net_devices = st.lists(_word, max_size=2, unique=True).map(
    lambda names: tuple(NetDevice(name, name.upper()) for name in names)
)
edits = st.builds(
    ContainerEdits,
    env=st.lists(_env, max_size=3).map(tuple),
    device_nodes=st.lists(device_nodes, max_size=2).map(tuple),
    hooks=st.lists(hooks, max_size=2).map(tuple),
    mounts=st.lists(mounts, max_size=3).map(tuple),
    intel_rdt=st.none() | intel_rdts,
    net_devices=_net_devices,
    additional_gids=st.lists(_id, max_size=2).map(tuple),
)
_annotations = st.dictionaries(_text, _text, max_size=2)
devices = st.builds(
    Device,
    name=device_names,
    edits=edits.map(lambda part: part if not part.is_empty else ContainerEdits(env=("A=1",))),
    annotations=_annotations,
)
specs = st.builds(
    Spec,
    version=st.just("1.1.0"),
    kind=kinds,
    devices=st.lists(devices, min_size=1, max_size=2, unique_by=lambda device: device.name).map(tuple),
    edits=edits,
    annotations=_annotations,
)
spec_errors = st.builds(
    SpecError,
    path=_path,
    line=st.integers(0, 9),
    column=st.integers(0, 9),
    json_path=_text,
    rule=st.sampled_from(Rule),
    value=st.none() | _text,
    message=_text,
    hint=_text,
)
_errors = st.lists(spec_errors, max_size=2).map(tuple)
_files = st.builds(SpecFile, path=_path, priority=st.integers(0, 2), spec=specs, warnings=_errors) | st.builds(
    RejectedFile,
    path=_path,
    priority=st.integers(0, 2),
    errors=st.lists(spec_errors, min_size=1, max_size=2).map(tuple),
    kind=st.just("") | kinds,
)
_directories = st.builds(
    SpecDirectory,
    path=_path,
    priority=st.integers(0, 2),
    state=st.sampled_from(DirectoryState),
    error=st.none() | spec_errors,
)
scans = st.builds(Scan, st.lists(_directories, max_size=2).map(tuple), st.lists(_files, max_size=3).map(tuple))


@st.composite
def oci_specs(draw: st.DrawFn) -> dict[str, Any]:
    """A small OCI spec: any of its sections may be absent or null."""
    spec: dict[str, Any] = {"ociVersion": "1.2.0", "unknown": [1]}
    process = {"user": {"uid": draw(st.integers(0, 2)), "gid": 0}, "env": draw(st.lists(_env, max_size=2))}
    linux = {"devices": [{"path": "/dev/null"}], "namespaces": [{"type": draw(st.sampled_from(["user", "pid"]))}]}
    some_mounts = draw(
        st.lists(st.fixed_dictionaries({"destination": st.sampled_from(["/", "/a", "/a/b"])}), max_size=3)
    )
    for key, value in (("process", process), ("linux", linux), ("mounts", some_mounts), ("hooks", {})):
        if draw(st.booleans()):
            spec[key] = draw(st.none() | st.just(value))
    return spec
