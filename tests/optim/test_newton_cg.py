import pytest

from jax231.optim.newton_cg import newton_cg
from tests.problems import quadratic
from tests.trajectories import descent

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("cg_limit", [1, 3])
def test_the_limit_bounds_the_products_of_a_step(cg_limit):
    problem = quadratic(1e4)
    _, states = descent(lambda damping: newton_cg(damping, cg_limit=cg_limit), problem.fun, 5)(problem.start, 0.0)
    assert states.cg_iterations.max() == cg_limit


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ValueError, match="newton_cg: expected at least one CG iteration; got cg_limit=0"):
        newton_cg(cg_limit=0)
