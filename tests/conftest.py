"""What every test shares."""

import pytest


@pytest.fixture(autouse=True)
def _own_draws():
    """Draws that a test does not seed itself are the same alone, in any order, and beside other tests."""
    import torch

    torch.manual_seed(0)
