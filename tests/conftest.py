"""What every test shares, and the end of a run that hangs."""

import faulthandler
import os

import pytest

LIMIT = 60 * float(os.environ.get("SECONDLOOK_TEST_MINUTES", "45"))  # of all tests together


def pytest_configure(config):
    """The process that waits for all others ends itself, and so them, with exit code 1 when the time is up."""
    if not hasattr(config, "workerinput"):
        faulthandler.dump_traceback_later(LIMIT, exit=True, file=os.dup(2))


def pytest_unconfigure(config):
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def _own_draws():
    """Draws that a test does not seed itself are the same alone, in any order, and beside other tests."""
    import torch

    torch.manual_seed(0)


@pytest.fixture
def one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def quick_places(monkeypatch):
    """Places on a plane that take no time."""
    from secondlook.insight import embeddings

    for name in ("tsne", "umap"):
        monkeypatch.setattr(embeddings, name, lambda x: x[:, :2])
