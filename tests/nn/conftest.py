import jaxtyping
import pytest


@pytest.fixture
def unchecked():
    """Calls as users make them, without the check of annotations, which would be the first to refuse a wrong rank."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
