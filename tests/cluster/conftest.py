from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from lab.cluster import Cluster
from lab.equipped import Equipped
from lab.kubelet import IMPATIENT
from lab.kubernetes import parts
from lab.lifecycle import Result, table
from lab.runtimes import containerd, runc
from lab.trouble import LabError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

SERIES = os.environ.get("CLUSTER_RUNTIMES", "1.7 2.1 2.4").split()
ONE = SERIES[0]
"""Where a test with the marker `one_series` runs."""

RESULTS = pytest.StashKey[dict[tuple[str, str, str], Result | str]]()


def place(item: pytest.Item) -> tuple[str, str, str]:
    """A test's function, its series (empty if it has none), and its case."""
    callspec = getattr(item, "callspec", None)
    series = callspec.params.get("series", "") if callspec else ""
    case = "-".join(one for one in callspec.id.split("-") if one != series) if callspec else ""
    return getattr(item, "originalname", item.name), series, case


def pytest_configure(config: pytest.Config) -> None:
    """Say what `one_series` means."""
    config.addinivalue_line(
        "markers",
        "one_series(why): runs on the first series of containerd only, since the runtime has no part in what it tests",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, on all series but one, what is marked `one_series`. The table says so."""
    left_out = [item for item in items if item.get_closest_marker("one_series") and place(item)[1] not in {"", ONE}]
    results = config.stash.setdefault(RESULTS, {})
    results.update({place(item): f"on {ONE} only" for item in left_out})
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep how each test ended, for the table."""
    report = yield
    results = item.config.stash[RESULTS]
    if report.when == "call" or (report.when == "setup" and not report.passed):
        results[place(item)] = Result(report.outcome, report.duration)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    results = config.stash.get(RESULTS, None)
    lines = table(results) if results else []
    if lines:
        terminalreporter.section("lifecycle")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", params=SERIES)
def series(request: pytest.FixtureRequest) -> str:
    """Each series of containerd that $CLUSTER_RUNTIMES names. A missing part fails the tests: they did not run."""
    wanted = str(request.param)
    missing = []
    for part in (parts, lambda: containerd(wanted), lambda: runc(None)):
        try:
            part()
        except LabError as error:
            missing.append(str(error))
    if missing:
        pytest.fail("\n".join(missing), pytrace=False)
    return wanted


@pytest.fixture(scope="session")
def running_cluster(series: str) -> Iterator[Equipped]:
    """One cluster of each series for the whole run; tests take `equipped`. A kubelet with its own patience is looked at on one."""
    with Cluster(series, kubelet={} if series == ONE else IMPATIENT) as cluster:
        yield Equipped(cluster)


@pytest.fixture
def equipped(running_cluster: Equipped) -> Equipped:
    """The shared cluster with both halves of nri-cdi running as two processes, and no pods."""
    running_cluster.tidy()
    return running_cluster


@pytest.fixture
def patient(series: str) -> bool:
    """Whether to wait until the kubelet tries again in its own time, in which the runtime has no part: on one series."""
    return series == ONE


@pytest.fixture
def cluster(equipped: Equipped) -> Cluster:
    """The cluster of `equipped`."""
    return equipped.cluster
