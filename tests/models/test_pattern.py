import jax
import jax.numpy as jnp
import pytest

from jax231.models.pattern import pattern
from jax231.nn.bridge import functionalize, watched_apply


def outputs(shape, **options):
    """What each layer puts out for one image."""
    constructor, seen = pattern(shape, 5, **options), {}
    params, state = jax.eval_shape(functionalize(constructor).init, jax.random.key(0))

    def watch(name, layer, inputs, output):
        seen[name] = output.shape[1:]
        return output

    x = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    jax.eval_shape(lambda *arrays: watched_apply(constructor)(watch, *arrays), params, state, x)
    return seen, params


def test_the_pattern_of_the_course():
    """[(conv - relu)*2 - pool]*3 - (fc - relu)*2: channels double from stage to stage."""
    seen, params = outputs((17, 9, 3), n=2, m=3, k=2, channels=4, units=7)
    expected = {"stages/00": (8, 4, 4), "stages/01": (4, 2, 8), "stages/02": (2, 1, 16)}
    expected |= {"stages/02/layers/01": (4, 2, 16), "classifier/hidden/01": (7,), "": (5,)}
    assert {name: seen[name] for name in expected} == expected
    assert [len(stage["layers"]) for stage in params["stages"].values()] == [2, 2, 2]
    assert params["classifier"]["hidden"]["00"]["affine"]["kernel"].shape == (2 * 1 * 16, 7)


def test_without_pooling_and_hidden_layers():
    seen, params = outputs((3, 4, 1), n=1, m=2, k=0, pool=False, channels=2)
    assert (seen["stages/01"], set(params["classifier"])) == ((3, 4, 4), {"scores"})
    assert params["classifier"]["scores"]["kernel"].shape == (48, 5)


def test_batch_normalisation_takes_the_place_of_biases():
    _, params = outputs((4, 4, 1), batch_norm=True, channels=2, units=3)
    assert set(params["stages"]["00"]["layers"]["00"]["conv"]) == {"kernel"}
    assert set(params["classifier"]["hidden"]["00"]) == {"affine", "norm"}


def test_bad_arguments_are_refused():
    for options in ({"n": 0}, {"m": 0}, {"k": -1}):
        with pytest.raises(ValueError, match=r"pattern: expected n and m of at least 1, k of at least 0; got n="):
            pattern((8, 8, 1), 10, **options)
    with pytest.raises(ValueError, match=r"pattern: expected images of at least 8x8; got shape=\(7, 8, 1\)"):
        pattern((7, 8, 1), 10, m=3)
    with pytest.raises(ValueError, match=r"pattern: expected images \(h, w, c\); got shape=\(8, 8\)"):
        pattern((8, 8), 10)
