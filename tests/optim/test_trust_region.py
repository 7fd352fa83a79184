import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jax231.optim.trust_region import Within, judge, require_radius, steihaug

pytestmark = pytest.mark.usefixtures("x64")
VECTOR = np.array([1.0, -2.0, 3.0, 4.0, 0.5])
CONVEX = (1.0, 2.0, 5.0, 20.0, 100.0)
INDEFINITE = (-0.5, 2.0, 5.0, 20.0, 100.0)


def symmetric(*eigenvalues):
    basis, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    return basis @ np.diag(eigenvalues) @ basis.T


@jax.jit
def solve(matrix, vector, radius, tolerance=0.0):
    return steihaug(lambda v: matrix @ v, vector, radius, tolerance, 8)


def fall(matrix, vector, step):
    return vector @ step - step @ matrix @ step / 2


def exact(matrix, vector, radius):
    """The global solution: (matrix + mu I) x = vector with the mu >= 0 for which |x| = radius, or mu = 0 inside."""
    eigenvalues, basis = np.linalg.eigh(matrix)
    coordinates = basis.T @ vector

    def excess(mu):
        return np.linalg.norm(coordinates / (eigenvalues + mu)) - radius

    least = max(0.0, -eigenvalues[0])
    inside = eigenvalues[0] > 0 and excess(0.0) <= 0
    mu = 0.0 if inside else scipy.optimize.brentq(excess, least + 1e-12, least + 1e6, xtol=1e-15)
    return basis @ (coordinates / (eigenvalues + mu))


def test_a_large_radius_leaves_the_solution_of_the_system():
    matrix = symmetric(*CONVEX)
    found = solve(matrix, VECTOR, 1e3, 1e-10)
    np.testing.assert_allclose(found.step, np.linalg.solve(matrix, VECTOR), rtol=1e-9)
    np.testing.assert_allclose(found.decrease, fall(matrix, VECTOR, found.step), rtol=1e-12)
    assert not found.rim
    assert found.products <= 7


@pytest.mark.parametrize("eigenvalues", [CONVEX, INDEFINITE], ids=["convex", "indefinite"])
def test_on_the_rim_the_model_falls_enough(eigenvalues):
    matrix = symmetric(*eigenvalues)
    radii = np.geomspace(1e-3, 2.0, 12)
    many = jax.device_get(jax.jit(jax.vmap(solve, (None, None, 0)))(matrix, VECTOR, radii))
    assert many.rim.all()
    np.testing.assert_allclose(np.linalg.norm(many.step, axis=1), radii, rtol=1e-12)
    assert (np.diff(many.products) >= 0).all()
    for radius, step, decrease in zip(radii, many.step, many.decrease, strict=True):
        np.testing.assert_allclose(decrease, fall(matrix, VECTOR, step), rtol=1e-9)
        along = VECTOR / np.linalg.norm(VECTOR)
        cauchy = along * min(radius, np.linalg.norm(VECTOR) / (along @ matrix @ along))
        best = fall(matrix, VECTOR, exact(matrix, VECTOR, radius))
        assert fall(matrix, VECTOR, cauchy) <= decrease * (1 + 1e-12)
        assert (0.5 if eigenvalues == CONVEX else 0.0) * best <= decrease <= best * (1 + 1e-9)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_along_an_eigenvector_the_rim_is_the_exact_solution(sign):
    matrix = symmetric(sign * 0.5, 2.0, 5.0, 20.0, 100.0)
    vector = np.linalg.eigh(matrix)[1][:, 0]
    found = solve(matrix, vector, 0.3)
    np.testing.assert_allclose(found.step, 0.3 * vector, atol=1e-12)
    assert (bool(found.rim), int(found.products)) == (True, 1)


def test_nothing_to_solve_takes_no_product():
    found = solve(np.eye(5), np.zeros(5), 1.0)
    assert (int(found.products), bool(found.rim), float(found.decrease)) == (0, False, 0.0)
    np.testing.assert_array_equal(found.step, np.zeros(5))


def test_products_that_are_not_numbers_promise_nothing():
    found = solve(np.full((5, 5), np.nan), VECTOR, 1.0)
    assert found.products == 1
    assert not found.decrease > 0


@pytest.mark.parametrize(
    ("trial", "radius", "accepted", "following"),
    [
        (2.0, 1.0, True, 2.0),  # as the model says
        (2.0, 2.0, True, 2.0),  # well inside
        (2.5, 1.0, True, 1.0),  # half of it
        (2.9, 1.0, True, 0.25),  # a tenth
        (3.0, 2.0, False, 0.25),
        (9.0, 1.0, False, 0.25),
        (np.nan, 1.0, False, 0.25),
        (np.inf, 1.0, False, 0.25),
    ],
)
def test_the_loss_judges_the_model(trial, radius, accepted, following):
    within = Within(jnp.array([0.6, -0.8]), jnp.ones(()), jnp.zeros((), jnp.int32), jnp.asarray(False))
    found = judge(jnp.asarray(3.0), jnp.asarray(trial), within, jnp.asarray(radius))
    assert (bool(found.accepted), float(found.radius)) == (accepted, pytest.approx(following))


def test_a_fall_that_rounding_hides_is_taken():
    within = Within(jnp.ones(2), jnp.asarray(1e-17), jnp.zeros((), jnp.int32), jnp.asarray(False))
    assert judge(jnp.asarray(1.0), jnp.asarray(1.0), within, jnp.asarray(2.0)).accepted
    assert not judge(jnp.asarray(1.0), jnp.asarray(1 + 1e-14), within, jnp.asarray(2.0)).accepted


def test_a_radius_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"sr1: expected radius above 0; got radius=0\.0"):
        require_radius("sr1", 0.0)
    jax.eval_shape(lambda radius: require_radius("sr1", radius), 0.0)
