"""Calling `main` from a test."""

import signal

import pytest

from jax231.cli import main


@pytest.fixture(autouse=True)
def same_signals():
    """`main` takes over SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def call(capsys, monkeypatch):
    """Call `main`; exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "120")

    def call(*tokens: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(token) for token in tokens])
        return (caught.value.code, *capsys.readouterr())

    return call
