"""What every test gets: a marker by folder, one seed, one thread per test process, goldens."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import patience, seeds, time_table

TESTS = Path(__file__).parent
KINDS = ("unit", "integration", "e2e")
SLOWEST = ("e2e", "integration", "unit")


def pytest_configure(config: pytest.Config) -> None:
    """One factor for all deadlines, measured before any worker of xdist starts; all seeds."""
    patience.settle()
    seeds.settle()


def pytest_report_header() -> str:
    """What a log should say of the machine."""
    return f"deadlines x {patience.factor():.2f} ({patience.VARIABLE})"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where the time went."""
    time_table.show(terminalreporter)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with the folder it lives in, so that ``-m unit`` needs no decorators.

    Its time limit, which only a test that hangs reaches, is scaled as all deadlines are. The
    longest tests come first: with several workers the short ones then fill the end.
    """
    for item in items:
        if not item.path.is_relative_to(TESTS):
            continue
        kind = item.path.relative_to(TESTS).parts[0]
        if kind in KINDS:
            item.add_marker(kind)
        limit = item.get_closest_marker("timeout")
        limit_s = float(limit.args[0] if limit else config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(patience.patient(limit_s)), append=False)
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    return next((rank for rank, kind in enumerate(SLOWEST) if kind in item.keywords), 0)


@pytest.fixture(scope="session", autouse=True)
def single_thread() -> None:
    """One torch thread per process: small tensors gain nothing from more, and results repeat.

    Without torch there is nothing to set: the torch-free half is tested all the same.
    """
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def heeded_signals() -> None:
    """Signals that whoever started the tests ignores (nohup, ``&`` in a script) are not ignored.

    Programs would inherit that, and rightly go on when a test sends them one. What is done about
    them here is nothing, so that the tests themselves still outlive their terminal.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs that tests start keep nothing in the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random numbers for each test, whatever ran before it."""
    seeds.seed_all()


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Folder of the recorded reference numbers (safetensors, with a json beside each)."""
    return TESTS / "goldens"


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """Root of the checkout."""
    return TESTS.parent
