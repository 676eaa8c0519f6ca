"""The Helm chart: what it renders for many values, what its schema refuses, and that what is made from it is up to date."""

from __future__ import annotations

import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from deployed.matrix import GPU, MATRIX

from nri_cdi.cli import build
from nri_cdi.cli.serve import settings_of
from nri_cdi.kubelet.names import resource_names
from nri_cdi.settings import SettingsError, names

if TYPE_CHECKING:
    from nri_cdi.settings import Settings

CHECKOUT = Path(__file__).resolve().parent.parent.parent
CHART = CHECKOUT / "deploy/helm/nri-cdi"
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
CACHE = Path(os.environ.get("NRI_CDI_CACHE", "~/.cache/nri-cdi")).expanduser()

Object = dict[str, Any]


@functools.cache
def helm() -> str:
    found = shutil.which("helm") or shutil.which("helm", path=str(CACHE / "tools/helm"))
    if found is None:
        pytest.fail("there is no helm: hack/get-tool helm builds it")
    return found


def run_helm(*arguments: str, values: Object | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  # Helm
        [helm(), *arguments, "--values", "-"],
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
        check=False,
    )


def render(values: Object, *, kubernetes: str = "1.34.0") -> list[Object]:
    return [one for one in yaml.safe_load_all(rendered(json.dumps(values), kubernetes)) if one]


@functools.cache
def rendered(values: str, kubernetes: str) -> str:
    where = ["--namespace", "ns", "--kube-version", kubernetes]
    said = run_helm("template", "nri-cdi", str(CHART), *where, values=json.loads(values))
    assert said.returncode == 0, said.stderr
    return said.stdout


def daemonset(values: Object, **options: str) -> Object:
    (found,) = (one for one in render(values, **options) if one["kind"] == "DaemonSet")
    return found


def containers(one: Object) -> list[Object]:
    found: list[Object] = one["spec"]["template"]["spec"]["containers"]
    return found


def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings from the environment of the tests."""
    for name in [name for name in os.environ if name.startswith("NRI_CDI_")]:
        monkeypatch.delenv(name)


def settings(container: Object, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """What nri-cdi itself makes of the container's arguments and variables."""
    given(container, monkeypatch)
    return settings_of(build(container["args"]).parse_args(container["args"]))


def given(container: Object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container's variables; the file that one names is there, and empty."""
    clean(monkeypatch)
    for one in container.get("env", ()):
        monkeypatch.setenv(one["name"], "/dev/null" if one["name"] == "NRI_CDI_CONFIG" else one["value"])


@pytest.fixture(params=MATRIX, ids=lambda values: json.dumps(values)[:60])
def values(request: pytest.FixtureRequest) -> Object:
    found: Object = request.param
    return found


def test_each_container_is_granted_nothing_but_to_be_root(values: Object) -> None:
    one = daemonset(values)
    pod = one["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostPID", "hostIPC", "hostNetwork"} & pod.keys()
    for container in containers(one):
        context = container["securityContext"]
        assert context["privileged"] is False
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


def test_host_directories_are_mounted_never_files_and_only_those_with_our_sockets_to_write(values: Object) -> None:
    pod = daemonset(values)["spec"]["template"]["spec"]
    paths = {one["name"]: one["hostPath"] for one in pod["volumes"] if "hostPath" in one}
    assert {one["type"] for one in paths.values()} <= {"Directory", "DirectoryOrCreate"}
    for container in pod["containers"]:
        for mount in container["volumeMounts"]:
            assert mount.get("readOnly", False) is (mount["name"] not in {"run", "device-plugins", "plugins-registry"})
            assert mount["name"] in {one["name"] for one in pod["volumes"]}
        destinations = [mount["mountPath"] for mount in container["volumeMounts"]]
        assert len(destinations) == len(set(destinations))


def test_a_directory_that_may_be_missing_on_a_read_only_file_system_is_seen_from_above() -> None:
    volumes = daemonset({"advertise": [GPU]})["spec"]["template"]["spec"]["volumes"]
    assert {"path": "/etc", "type": "Directory"} in [one.get("hostPath") for one in volumes]


def test_the_agent_takes_the_arguments_and_both_halves_agree(values: Object, monkeypatch: pytest.MonkeyPatch) -> None:
    one = daemonset(values)
    halves = {container["name"]: settings(container, monkeypatch) for container in containers(one)}
    a, b = halves["nri-a"], halves["nri-b"]
    assert int(b.plugin_index) == int(a.plugin_index) + 1
    assert ("device-plugin" in halves) is bool(values.get("advertise"))
    for half in halves.values():
        for name in ("annotation_prefix", "nri_socket", "cdi_dir", "run_dir", "host_root"):
            assert getattr(half, name) == getattr(a, name), name
    if "device-plugin" in halves:
        assert list(halves["device-plugin"].resource) == values["advertise"]
        assert halves["device-plugin"].guard is values.get("guard", True)


def test_a_command_that_is_run_in_a_container_has_its_settings(values: Object, monkeypatch: pytest.MonkeyPatch) -> None:
    for container in containers(daemonset(values)):
        served = settings(container, monkeypatch)
        check = settings_of(build(["uninstall-check"]).parse_args(["uninstall-check"]))
        for name in ("annotation_prefix", "nri_socket", "cdi_dir", "kubelet_dir", "run_dir", "host_root"):
            assert getattr(check, name) == getattr(served, name), name


def test_the_settings_that_are_allowed_are_those_that_no_other_value_gives() -> None:
    given = {
        name
        for container in containers(daemonset({"advertise": [GPU]}))
        for name in [
            *(argument.partition("=")[0].removeprefix("--") for argument in container["args"][1:]),
            *(one["name"].removeprefix("NRI_CDI_").lower().replace("_", "-") for one in container["env"]),
        ]
    }
    # the directory where the halves meet is a mount of the chart
    assert set(SCHEMA["properties"]["settings"]["properties"]) == set(names()) - given - {"run-dir"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("settle", 60),
        ("settle", "a minute"),
        ("settle", -1),
        ("deadline", "0.12345"),
        ("pre-start", "off"),
        ("pre-start", False),
        ("pre-start", "never"),
        ("mode", "observe"),
        ("mode", "watch"),
        ("foreign-keys", "inject"),
        ("allow-kind", ["vendor.com/*"]),
        ("allow-kind", ["a b"]),
        ("allow-namespace", ["team-*"]),
        ("allow-namespace", ["a/b"]),
        ("allow-hook", ["usr/bin"]),
        ("include", ["nvidia.com/gpu=GPU-*", "*=all"]),
        ("include", ["all"]),
        ("shared-node", ["/dev/kfd"]),
        ("shared-node", ["/"]),
        ("settel", 60),
    ],
    ids=str,
)
def test_the_schema_takes_the_settings_that_the_agent_takes(
    name: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean(monkeypatch)
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({name: value}))
    try:
        settings_of(build(["nri"]).parse_args(["nri", "--config", str(file)]))
    except SettingsError:
        taken = False
    else:
        taken = True
    said = run_helm("template", "nri-cdi", str(CHART), values={"settings": {name: value}})
    assert (said.returncode == 0) is taken, said.stderr


def test_what_the_arguments_name_is_mounted(values: Object, monkeypatch: pytest.MonkeyPatch) -> None:
    for container in containers(daemonset(values)):
        half = settings(container, monkeypatch)
        named = [*half.cdi_dir, half.run_dir]
        named += [f"{half.kubelet_dir}/device-plugins"] if container["name"] == "device-plugin" else [half.nri_socket]
        mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
        for path in named:
            assert any(path == mount or path.startswith(f"{mount}/") for mount in mounts), path


def test_probes_ask_the_container_itself_on_a_port_of_its_own(values: Object) -> None:
    found = containers(daemonset(values))
    for container in found:
        (port,) = container["ports"]
        assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": port["name"]}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": port["name"]}
        assert f"--http=:{port['containerPort']}" in container["args"]
    for what in ("name", "containerPort"):
        assert len({container["ports"][0][what] for container in found}) == len(found)


def test_there_is_a_limit_for_memory_and_none_for_the_processor() -> None:
    for container in containers(daemonset({"advertise": [GPU]})):
        assert set(container["resources"]["limits"]) == {"memory"}


def test_the_update_goes_node_by_node_and_never_has_two_agents_on_a_node() -> None:
    assert daemonset({})["spec"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": "10%", "maxSurge": 0}


def test_changed_settings_make_new_pods() -> None:
    first, second = (
        daemonset({"settings": {"settle": seconds}})["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]
        for seconds in (30, 60)
    )
    assert first != second


@pytest.mark.parametrize(
    ("kubernetes", "there"), [("1.26.0", False), ("1.30.9", False), ("1.31.0", True), ("1.34.0", True)]
)
def test_mounts_are_read_only_all_the_way_down_where_kubernetes_knows_that(kubernetes: str, *, there: bool) -> None:
    mounts = [
        mount
        for container in containers(daemonset({"advertise": [GPU]}, kubernetes=kubernetes))
        for mount in container["volumeMounts"]
        if mount["name"].startswith("host-")
    ]
    assert {mount.get("recursiveReadOnly") == "IfPossible" for mount in mounts} == {there}


def test_names_stay_apart_for_two_releases_and_within_the_limits() -> None:
    long = daemonset({"fullnameOverride": "a" * 70})["metadata"]["name"]
    assert len(long) == 63
    assert {one["metadata"]["namespace"] for one in render({"advertise": [GPU]})} == {"ns"}


def test_the_required_plugins_policy_is_off_by_default_and_asks_for_the_advertised_resources() -> None:
    assert not [one for one in render({"advertise": [GPU]}) if one["kind"].startswith("MutatingAdmission")]
    policy, binding = (
        one
        for one in render({"advertise": [f"Vendor.com/GPU={GPU}"], "requiredPluginsPolicy": {"enabled": True}})
        if one["kind"].startswith("MutatingAdmission")
    )
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    assert policy["spec"]["failurePolicy"] == "Ignore"
    assert any(f'["{GPU}"]' in one["expression"] for one in policy["spec"]["matchConditions"])
    assert '"[\\"nri-cdi\\"]"' in policy["spec"]["mutations"][0]["applyConfiguration"]["expression"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"advertise": GPU}, "advertise"),
        ({"advertise": ["gpu"]}, "advertise/0"),
        ({"nri": {"plugin": {"index": 99}}}, "nri/plugin/index"),
        ({"nri": {"plugin": {"index": "ten"}}}, "nri/plugin/index"),
        ({"nri": {"socketDir": "run/nri"}}, "nri/socketDir"),
        ({"nri": {"socketdir": "/run/nri"}}, "socketdir"),
        ({"kubelet": {"dir": "/var/lib/kubelet/"}}, "kubelet/dir"),
        ({"cdi": {"specDirs": []}}, "cdi/specDirs"),
        ({"cdi": {"annotationPrefix": "cdi.k8s.io"}}, "cdi/annotationPrefix"),
        ({"image": {"digest": "sha256:12"}}, "image/digest"),
        ({"image": {"repository": "nri-cdi:dev"}}, "image/repository"),
        ({"image": {"tag": "v1 beta"}}, "image/tag"),
        ({"nri": None}, "nri"),
        ({"nri": {"plugin": {"index": None}}}, "index"),
        ({"fullnameOverride": "My_Name"}, "fullnameOverride"),
        ({"nodeSelector": {"gpu": True}}, "nodeSelector/gpu"),
        ({"podLabels": {"a": 1}}, "podLabels/a"),
        ({"podLabels": {"app.kubernetes.io/name": "x"}}, "app.kubernetes.io/name is the charts own"),
        ({"resources": {"nri": {"limit": {"memory": "1Gi"}}}}, "limit"),
        ({"resources": {"nri": {"limits": {"memory": "1 GB"}}}}, "resources/nri/limits/memory"),
        ({"settings": {"log-level": "debug"}}, "log-level"),
        ({"image": {"pullPolicy": "Sometimes"}}, "image/pullPolicy"),
        ({"log": {"level": "loud"}}, "log/level"),
        ({"guard": "yes"}, "guard"),
        ({"http": {"port": 80}}, "http/port"),
        ({"replicas": 3}, "replicas"),
        ({"requiredPluginsPolicy": {"enabled": True}}, "advertise names no resource"),
    ],
    ids=str,
)
def test_a_wrong_value_is_refused_by_name(wrong: Object, said: str) -> None:
    refused = run_helm("template", "nri-cdi", str(CHART), values=wrong)
    assert refused.returncode != 0
    assert said in refused.stderr.replace("'", ""), refused.stderr


@pytest.mark.parametrize(
    "advertise",
    [
        [GPU, "vendor.com/nic"],
        ["Vendor.com/GPU=vendor.com/gpu"],
        ["Vendor.com/GPU"],
        ["vendor_x.com/gpu"],
        ["vendor.com/gpu=gpu"],
        ["vendor.com/gpu=vendor.com/G_P.U-x"],
        ["vendor.com/gpu=vendor.com/gpu-"],
        ["vendor.com/gpu=kubernetes.io/gpu"],
        ["vendor.com/gpu=requests.vendor.com/gpu"],
        [f"vendor.com/gpu=vendor.com/{'g' * 64}"],
        [f"vendor.com/gpu={'v' * 240}.com/gpu"],
        [f"vendor.com/gpu={'v' * 241}.com/gpu"],
        ["vendor.com/gpu", "vendor.com/gpu=other.com/gpu"],
        ["vendor.com/gpu", "other.com/gpu=vendor.com/gpu"],
    ],
    ids=lambda names: " ".join(names)[:60],
)
def test_a_name_that_the_agent_would_not_advertise_is_refused_in_words(advertise: list[str]) -> None:
    try:
        resource_names(advertise)
    except ValueError:
        taken = False
    else:
        taken = True
    said = run_helm("template", "nri-cdi", str(CHART), values={"advertise": advertise})
    assert (said.returncode == 0) is taken, said.stderr
    assert taken or "advertise: " in said.stderr


def test_what_moves_with_the_kubelets_root_directory_is_mounted_from_there_and_seen_where_it_always_is() -> None:
    pod = daemonset(
        {"advertise": [GPU], "kubelet": {"registration": "plugins-registry", "rootDir": "/var/lib/k0s/kubelet"}}
    )["spec"]["template"]["spec"]
    paths = {one["name"]: one["hostPath"]["path"] for one in pod["volumes"]}
    (half,) = (one for one in pod["containers"] if one["name"] == "device-plugin")
    seen = {mount["mountPath"]: paths[mount["name"]] for mount in half["volumeMounts"]}
    assert {inside: outside for inside, outside in seen.items() if inside.startswith("/var/lib")} == {
        "/var/lib/kubelet/device-plugins": "/var/lib/kubelet/device-plugins",
        "/var/lib/kubelet/pod-resources": "/var/lib/k0s/kubelet/pod-resources",
        "/var/lib/kubelet/plugins_registry": "/var/lib/k0s/kubelet/plugins_registry",
    }


def test_directories_that_are_seen_through_the_same_one_are_mounted_once() -> None:
    dirs = [{"path": "/etc/cdi", "mountParent": True}, {"path": "/etc/more", "mountParent": True}]
    pod = daemonset({"advertise": [GPU], "cdi": {"specDirs": dirs}, "hostPaths": ["/etc", "/dev"]})["spec"]["template"][
        "spec"
    ]
    for container in pod["containers"]:
        seen = [mount["mountPath"] for mount in container["volumeMounts"] if mount["mountPath"].startswith("/host")]
        assert seen == ["/host/etc", "/host/dev"]


def test_helm_finds_nothing_to_complain_of(values: Object) -> None:
    said = run_helm("lint", "--strict", "--quiet", "--kube-version", "1.34.0", str(CHART), values=values)
    assert said.returncode == 0, said.stdout + said.stderr


def leaves(schema: Object, name: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The values that the schema describes by name, each as a whole."""
    parts = schema.get("properties")
    if not parts or (name and "description" in schema):
        return {name}
    return set(itertools.chain.from_iterable(leaves(part, (*name, key)) for key, part in parts.items()))


def test_every_value_has_a_default_and_a_meaning() -> None:
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    for name in leaves(SCHEMA) - {("global",)}:
        place, part = defaults, SCHEMA
        for key in name:
            place, part = place[key], part["properties"][key]
        assert part.get("description") or part.get("enum"), name


def test_the_readme_and_the_plain_manifests_are_what_the_chart_gives() -> None:
    command = [sys.executable, str(CHECKOUT / "hack/chart"), "--check"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # ours
    assert said.returncode == 0, said.stderr
