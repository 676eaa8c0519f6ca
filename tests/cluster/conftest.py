from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from lab.cluster import Cluster
from lab.equipped import Equipped
from lab.kubernetes import parts
from lab.lifecycle import Result, table
from lab.runtimes import containerd, runc
from lab.trouble import LabError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

SERIES = os.environ.get("CLUSTER_RUNTIMES", "1.7 2.1").split()

IN_PART = {} if "CLUSTER_RUNTIMES" in os.environ else {"2.4": "test_first_scene.py"}
"""Further series, and the file of tests that runs on each: what differs between runtimes is tested without a kubelet, in tests/runtime."""

RESULTS = pytest.StashKey[dict[tuple[str, str, str], Result]]()


def place(item: pytest.Item) -> tuple[str, str, str]:
    """A test's function, its series (empty if it has none), and its case."""
    callspec = getattr(item, "callspec", None)
    series = callspec.params.get("series", "") if callspec else ""
    case = "-".join(one for one in callspec.id.split("-") if one != series) if callspec else ""
    return getattr(item, "originalname", item.name), series, case


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not run on a series that is tested in part."""
    left_out = [item for item in items if IN_PART.get(place(item)[1], item.path.name) != item.path.name]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep how each test ended, for the table."""
    report = yield
    results = item.config.stash.setdefault(RESULTS, {})
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


@pytest.fixture(scope="session", params=[*SERIES, *IN_PART])
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
    """One cluster of each series for the whole run; tests take `equipped`."""
    with Cluster(series) as cluster:
        yield Equipped(cluster)


@pytest.fixture
def equipped(running_cluster: Equipped) -> Equipped:
    """The shared cluster with both halves of nri-cdi running as two processes, and no pods."""
    running_cluster.tidy()
    return running_cluster


@pytest.fixture
def cluster(equipped: Equipped) -> Cluster:
    """The cluster of `equipped`."""
    return equipped.cluster
