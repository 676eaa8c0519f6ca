"""What must hold over a pod's and a node's life on the real kubelet, as a table: each row is a test of tests/cluster, each column a containerd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Row:
    """What holds, and the function that tests it; `case` is the parameter that the row is about, if the function has several."""

    what: str
    test: str
    case: str = ""


_STAY: Final = "test_running_containers_and_their_devices_stay"

OF_KUBERNETES: Final = (
    Row(
        "devices are reachable, and podresources agrees",
        "test_the_devices_that_a_container_reaches_are_those_that_podresources_names",
    ),
    Row("devices are reachable through CDI", "test_pods_of_4_3_and_2_get_their_devices_in_turn", "two processes"),
    Row("the container restarted", "test_a_container_that_crashes_gets_the_same_devices_again"),
    Row("the kubelet restarted, then the container", _STAY, "kubelet restarted"),
    Row("the plugin restarted, then the container", _STAY, "nri-cdi restarted"),
    Row("kubelet, runtime and plugin restarted, then the container", _STAY, "all of them restarted"),
    Row(
        "the kubelet restarted while a container waits", "test_a_pod_that_waits_while_the_kubelet_restarts_is_not_lost"
    ),
    Row(
        "a succeeded pod is not admitted again",
        "test_a_pod_that_succeeded_is_not_admitted_again_and_its_devices_are_free",
    ),
    Row(
        "a pod deleted while the kubelet was down frees its devices",
        "test_devices_of_a_pod_that_was_deleted_while_the_kubelet_was_down_come_free",
    ),
    Row(
        "restartable init containers keep their devices",
        "test_a_sidecar_keeps_its_devices_over_its_restart_while_the_others_keep_theirs",
    ),
    Row(
        "a reboot with the registration held back",
        "test_after_a_reboot_a_plugin_that_comes_late_finds_its_pods_rejected_and_serves_new_ones",
    ),
)
"""The permutations of Kubernetes' own node e2e tests for device plugins."""

OURS: Final = (
    *(
        Row(
            f"a reboot with the plugin there first, {registration}",
            "test_pods_come_back_with_their_devices_after_a_reboot_of_the_node",
            registration,
        )
        for registration in ("kubelet.sock", "plugins-registry")
    ),
    Row("a reboot with device nodes that come late", "test_after_a_reboot_device_nodes_that_appear_late_cost_no_pod"),
    Row("containerd restarted", _STAY, "containerd restarted"),
    Row("containerd killed", _STAY, "containerd killed"),
    Row("the kubelet killed", _STAY, "kubelet killed"),
    Row("containerd and kubelet restarted together", _STAY, "containerd and kubelet restarted together"),
    Row("the plugin killed", _STAY, "nri-cdi killed"),
    Row("init containers and containers", "test_init_containers_and_containers_each_have_their_own"),
    Row("a job with a sidecar", "test_a_job_with_a_sidecar_ends_and_frees_all_devices"),
    Row(
        "registered again within 300 ms of a new kubelet.sock",
        "test_after_a_restart_of_the_kubelet_the_plugin_is_registered_again_within_300_ms",
    ),
    Row(
        "plugins_registry: a new kubelet comes by itself",
        "test_by_plugins_registry_a_new_kubelet_finds_the_plugin_before_the_pods_that_wait",
    ),
    Row(
        "another plugin of the resource comes and goes",
        "test_another_plugin_that_registers_later_is_said_and_let_be_and_followed_when_it_ends",
    ),
    Row(
        "a device renamed while a container has it",
        "test_a_device_that_is_renamed_while_a_container_has_it_is_given_to_nobody_else",
    ),
    Row("a rolling update", "test_a_rolling_update_costs_no_container"),
    Row(
        "an uninstall with pods that carry our answers",
        "test_after_an_uninstall_running_pods_run_on_and_none_starts_without_its_devices",
    ),
)

PARTS: Final = {"of Kubernetes' own tests": OF_KUBERNETES, "ours": OURS}


@dataclass(frozen=True, slots=True)
class Result:
    """How a test ended ("passed", "failed", ...) and the seconds that it took, without the making of the cluster."""

    outcome: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.outcome if self.outcome == 'passed' else self.outcome.upper()} {self.seconds:5.1f} s"


def table(results: Mapping[tuple[str, str, str], Result | str]) -> list[str]:
    """The lines of the table of the results by (test, containerd's series, case), or of why there is none; empty when none of its tests ran."""
    rows = [row for part in PARTS.values() for row in part]
    columns = sorted(
        {
            series
            for (test, series, case), result in results.items()
            if isinstance(result, Result) and _row_of(rows, test, case)
        }
    )
    if not columns:
        return []
    width = max(len(row.what) for row in rows) + 4
    lines = [
        "on the real kubelet".ljust(width) + "".join(f"{'containerd ' + series:18}" for series in columns).rstrip()
    ]
    for title, part in PARTS.items():
        lines.append(title)
        for row in part:
            cells = [str(results.get((row.test, series, row.case), "-")) for series in columns]
            lines.append(f"  {row.what:{width - 2}}" + "".join(f"{cell:18}" for cell in cells).rstrip())
    return lines


def _row_of(rows: Sequence[Row], test: str, case: str) -> Row | None:
    return next((row for row in rows if (row.test, row.case) == (test, case)), None)
