import jax
import jax.numpy as jnp
import numpy as np

from jax231.nn.bridge import functionalize
from jax231.nn.inception import Inception, Widths
from tests import references
from tests.derivatives import relative_error


def test_an_inception_module_is_four_branches_side_by_side():
    model = functionalize(lambda rngs: Inception(5, Widths(2, 3, 4, 1, 2, 3), rngs=rngs))
    params, state = model.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    state = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), leaf.dtype), state)
    x = rng.normal(size=(2, 4, 5, 5)).astype(np.float32)

    def convolved(x, *path, padding=0):
        p, s = params, state
        for name in path:
            p, s = p[name], s[name]
        y = references.conv2d(x, p["conv"]["kernel"], padding=((padding, padding),) * 2)
        return np.maximum((y - s["bn"]["mean"]) / np.sqrt(s["bn"]["var"] + 1e-3), 0)

    pooled, _ = references.max_pool(x, (3, 3), (1, 1), ((1, 1), (1, 1)))
    expected = [
        convolved(x, "branch1"),
        convolved(convolved(x, "branch2", "00"), "branch2", "01", padding=1),
        convolved(convolved(x, "branch3", "00"), "branch3", "01", padding=1),
        convolved(pooled, "branch4", "01"),
    ]
    y, _ = jax.jit(lambda p, s, x: model.apply(p, s, x, train=False))(params, state, x)
    assert relative_error(y, np.concatenate(expected, -1)) <= 1e-5
    assert [part.shape[-1] for part in expected] == [2, 4, 2, 3]
