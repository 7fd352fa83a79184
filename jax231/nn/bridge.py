"""From a Flax module to pure functions of nested dicts of arrays.

A module is built once without memory; what it is made of is split there. ``apply`` puts the arrays back while it is
traced, runs the module, and takes the new state out, so that compiled code holds nothing of Flax.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from jax231.core import tree
from jax231.core.checks import require
from jax231.core.types import Key, Model, PyTree, Scalar, TappedLayer
from jax231.functional.shapes import image_padding, image_pair
from jax231.nn.affine import Affine
from jax231.nn.conv import Conv
from jax231.nn.layer import Layer, compute_in, watching
from jax231.nn.noise import Rate, hand_out, noisy, streams

Constructor = Callable[[nnx.Rngs], nnx.Module]
"""``constructor(rngs) -> module``: what `functionalize` takes, a class with its arguments bound or a function."""

Rates = Mapping[str, Scalar]

MOST = 6
"""Names of a kind in an error."""


def nothing(name: str) -> bool:
    """No parameter is meant."""
    del name
    return False


def functionalize(
    constructor: Constructor, *, dtype: DTypeLike | None = None, frozen: Callable[[str], bool] = nothing
) -> Model:
    """The pure functions ``(init, apply, apply_tapped)`` of the module that ``constructor(rngs)`` builds.

    ``init(key) -> (params, state)``: nested dicts of arrays with string names, items of lists as "00", "01".
    ``apply(params, state, inputs, *, train, key, rates) -> (outputs, state)``: `inputs` is the module's one argument;
    with `train` the module is in training mode, and `key` gives each random layer a key of its own; `rates` sets what
    random layers drop by their kind (``{"dropout": 0.5, "drop_path": 0.1}``), traced or not.
    ``apply_tapped(params, probes, inputs, *, state, train, key, rates) -> (outputs, layer_inputs)``: `probes` are added
    to the pre-activations of the affine and convolution layers that they name, and `layer_inputs` are what these layers
    read, by the same names; one vjp with respect to probes of zero gives the gradients of all pre-activations.
    With `dtype`, bfloat16 for instance, layers compute in it; parameters, statistics and outputs keep theirs.
    Layers all of whose parameters are `frozen`, by their names, stay in evaluation mode in training: batch norm that
    is not trained takes its running statistics, and keeps them.
    Any module of NNX will do; random layers of Flax get keys too, but no rates.

    Raises:  ValueError for a module in the place of its constructor; (init) for a `dtype` that is not floating and for
             arrays that are not in variables of NNX; (apply) for parameters or a state of another model, which says
             what is missing, unknown and of another shape, for a rate or a probe of a name that the model does not
             have, and for training without a key where layers are random.
    """
    built = isinstance(constructor, nnx.Module)
    require(not built, "functionalize", "constructor(rngs) -> module, not the module", constructor=type(constructor))
    build = _builder(constructor, dtype)
    structure = _Structure(build, frozen)

    def init(key: Key) -> tuple[PyTree, PyTree]:
        return arrays(build(nnx.Rngs(key)))

    def apply(
        params: PyTree,
        state: PyTree,
        inputs: PyTree,
        *,
        train: bool = False,
        key: Key | None = None,
        rates: Rates = MappingProxyType({}),
    ) -> tuple[PyTree, PyTree]:
        module = structure.merged(params, state, train, key, rates)
        outputs = module(inputs)
        return _widened(outputs, params, inputs, dtype), _named(_parts(module).state)

    def apply_tapped(
        params: PyTree,
        probes: Mapping[str, PyTree],
        inputs: PyTree,
        *,
        state: PyTree = None,
        train: bool = False,
        key: Key | None = None,
        rates: Rates = MappingProxyType({}),
    ) -> tuple[PyTree, dict[str, PyTree]]:
        module = structure.merged(params, state, train, key, rates)
        names = layer_names(module)
        taps = [names[id(layer)] for _, layer in _layers(module) if isinstance(layer, Affine | Conv)]
        unknown = [name for name in probes if name not in taps]
        require(not unknown, "apply_tapped", "probes of affine or convolution layers", unknown=unknown, layers=taps)
        seen: dict[str, PyTree] = {}

        def tap(layer: Layer, given: tuple[Any, ...], output: PyTree) -> PyTree:
            name = names[id(layer)]
            if name not in probes:
                return output
            require(name not in seen, "apply_tapped", "layers that are called once", called_again=name)
            seen[name] = given[0]
            return output + jnp.asarray(probes[name], output.dtype)

        with watching(tap):
            outputs = module(inputs)
        return _widened(outputs, params, inputs, dtype), seen

    return Model(init, apply, apply_tapped)


def tapped_layers(constructor: Constructor) -> dict[str, TappedLayer]:
    """The layers that ``apply_tapped`` can tap, by name, and how each applies its kernel: K-FAC's ``layers``.

    Convolutions in groups are left out: their blocks are not one Kronecker product.
    """
    module = _abstract(constructor)
    found = {}
    for path, layer in _layers(module):
        name = "/".join(map(_string, path))
        if isinstance(layer, Conv) and layer.groups == 1:
            stride = image_pair(layer.stride, "stride", where=name)
            dilation = image_pair(layer.dilation, "dilation", where=name)
            padding, window = layer.padding, layer.kernel.shape[:2]
            if not isinstance(padding, str):
                padding = image_padding((1, 1), window, stride, padding, dilation, where=name)  # of any image
            found[name] = TappedLayer(stride, padding, dilation)
        elif isinstance(layer, Affine):
            found[name] = TappedLayer()
    return found


def rate_kinds(constructor: Constructor) -> tuple[str, ...]:
    """The kinds of the model's random layers: the names that ``rates`` may have."""
    return tuple(sorted({layer.kind for layer in noisy(_abstract(constructor))}))


def watched_apply(constructor: Constructor, *, dtype: DTypeLike | None = None) -> Callable[..., PyTree]:
    """``apply(watcher, params, state, inputs, *, train, key, rates) -> outputs``, for what happens inside a model.

    ``watcher(name, layer, inputs, output) -> output`` is called for every call of a layer, as `layer.watching` says.
    """
    structure = _Structure(_builder(constructor, dtype))

    def apply(
        watcher: Callable[[str, Layer, tuple[Any, ...], PyTree], PyTree],
        params: PyTree,
        state: PyTree,
        inputs: PyTree,
        *,
        train: bool = False,
        key: Key | None = None,
        rates: Rates = MappingProxyType({}),
    ) -> PyTree:
        module = structure.merged(params, state, train, key, rates)
        names = layer_names(module)

        def named(layer: Layer, given: tuple[Any, ...], output: PyTree) -> PyTree:
            return watcher(names[id(layer)], layer, given, output)

        with watching(named):
            return _widened(module(inputs), params, inputs, dtype)

    return apply


def layer_names(module: nnx.Module) -> dict[int, str]:
    """The names of the layers of `module`, "stage1/00/conv1", by their ids."""
    return {id(layer): "/".join(map(_string, path)) for path, layer in _layers(module)}


def arrays(module: nnx.Module) -> tuple[PyTree, PyTree]:
    """Parameters and state of a module, named as `functionalize` names them."""
    parts = _parts(module)
    return _named(parts.params), _named(parts.state)


class _Parts(NamedTuple):
    """A module as the graph of its objects and four kinds of variables."""

    graph: Any
    params: Any
    rates: Any
    streams: Any
    state: Any


def _parts(module: nnx.Module) -> _Parts:
    parts = _Parts(*nnx.split(module, nnx.Param, Rate, nnx.RngState, ...))
    bare = ["/".join(map(_string, path)) for path, leaf in nnx.to_flat_state(parts.state) if not _is_variable(leaf)]
    require(not bare, "functionalize", "arrays within variables, such as nnx.Param or nnx.BatchStat", bare=bare)
    return parts


def _is_variable(leaf: Any) -> bool:
    return isinstance(leaf, nnx.Variable)


class _Structure:
    """The parts of a module in either mode, without memory, found when first asked for."""

    def __init__(self, build: Constructor, frozen: Callable[[str], bool] = nothing):
        self._build, self._frozen = build, frozen
        self._parts: dict[bool, _Parts] = {}

    def merged(self, params: PyTree, state: PyTree, train: bool, key: Key | None, rates: Rates) -> Any:
        """The module with these arrays, keys and rates."""
        if train not in self._parts:
            module = _abstract(self._build)
            module.train() if train else module.eval()
            for path, layer in _layers(module):
                below = [place for place, _ in nnx.to_flat_state(nnx.state(layer, nnx.Param))]
                if below and all(self._frozen("/".join(map(_string, (*path, *place)))) for place in below):
                    layer.eval()
            self._parts[train] = _parts(module)
        parts = self._parts[train]
        filled = parts._replace(
            params=_filled(parts.params, params, "params"), state=_filled(parts.state, state, "state")
        )
        module = nnx.merge(*filled)
        kinds = sorted({layer.kind for layer in noisy(module)})
        unknown = sorted(set(rates) - set(kinds))
        require(not unknown, "apply", "rates of the model's random layers", unknown=unknown, known=kinds)
        keyless = train and key is None and streams(module)
        require(not keyless, "apply", "a key for the random layers in training", kinds=kinds, key=key)
        hand_out(module, key, rates)
        return module


def _abstract(build: Constructor) -> Any:
    return nnx.eval_shape(lambda: build(nnx.Rngs(0)))


def _builder(constructor: Constructor, dtype: DTypeLike | None) -> Constructor:
    return lambda rngs: compute_in(constructor(rngs), dtype)


def _layers(module: nnx.Module) -> list[tuple[tuple[Any, ...], Layer]]:
    return [(path, layer) for path, layer in nnx.iter_modules(module) if isinstance(layer, Layer)]


def _string(part: Any) -> str:
    return f"{part:02d}" if isinstance(part, int) else str(part)


def _named(variables: Any) -> PyTree:
    """Values of `variables` in nested dicts."""
    nested: dict[str, Any] = {}
    for path, variable in nnx.to_flat_state(variables):
        *folders, last = map(_string, path)
        place = nested
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = variable.get_value()
    return nested


def _filled(variables: Any, values: PyTree, what: str) -> Any:
    """`variables` with the values of nested dicts."""
    like = dict(nnx.to_flat_state(variables))
    paths = {"/".join(map(_string, path)): path for path in like}
    given = dict(zip(tree.names(values), jax.tree.leaves(values), strict=True))
    shapes = {name: like[path].get_value().shape for name, path in paths.items()}
    differs = {
        "missing": [name for name in paths if name not in given],
        "unknown": [name for name in given if name not in paths],
        "of another shape": [
            f"{name} {jnp.shape(given[name])} instead of {shape}"
            for name, shape in shapes.items()
            if name in given and jnp.shape(given[name]) != shape
        ],
    }
    if any(differs.values()):
        seen = "; ".join(f"{kind}: {_some(names)}" for kind, names in differs.items() if names)
        raise ValueError(f"apply: expected the {what} of this model; got {seen}")

    return nnx.from_flat_state([(path, like[path].replace(given[name])) for name, path in paths.items()])


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def _widened(outputs: PyTree, params: PyTree, inputs: PyTree, dtype: DTypeLike | None) -> PyTree:
    """Outputs in the type of the parameters, or of the inputs where there are none, if layers compute in another."""
    if dtype is None:
        return outputs
    floating = lambda x: jnp.issubdtype(jnp.result_type(x), jnp.floating)  # noqa: E731
    wide = [x for x in jax.tree.leaves(params) or jax.tree.leaves(inputs) if floating(x)]
    return jax.tree.map(lambda x: x.astype(jnp.result_type(*wide)) if wide and floating(x) else x, outputs)
