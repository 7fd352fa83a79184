"""Fixtures of the tests of training."""

import gc

import pytest


@pytest.fixture
def swept():
    """What Orbax leaves behind when it fails is collected, and warns, where the test that made it fail says so."""
    yield
    gc.collect()
