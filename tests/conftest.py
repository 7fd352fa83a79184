"""Fixtures of every test: float64 on request, full matrix precision, quick compilation, no deadlines."""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
if not os.environ.get("JAX231_TEST_OPTIMIZED"):
    # Most of the time would go into LLVM's work on small programs that run once. HLO passes, such as fusion, stay on.
    # Appended to the environment, for processes that tests start.
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {quick}"

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Tests of training and of the command line compile the same programs over and over, many in processes of their own.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jax231-compiled-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

from pathlib import Path

import hypothesis
import jax
import pytest

hypothesis.settings.register_profile(
    "jax231",
    deadline=None,
    max_examples=25,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("jax231")


def pytest_sessionstart():
    """Compile the kernels before a test waits for them; the first of pytest-xdist's processes does it for all."""
    from jax231.kernels import native  # after jaxtyping's import hook

    native.active()


@pytest.fixture
def x64():
    """Run the test with 64-bit types switched on."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real data sets in their official layouts; skips where JAX231_DATA is unset."""
    folder = os.environ.get("JAX231_DATA")
    if not folder:
        pytest.skip("JAX231_DATA is not set: no real data sets here")
    return Path(folder)
