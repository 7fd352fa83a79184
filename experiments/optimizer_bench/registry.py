"""The parts of the benchmark by name, in the order in which they are measured and shown."""

from types import ModuleType
from typing import Literal, NamedTuple

from optimizer_bench import autoencoder, newton, problems, products, scaling, starts, timed

PartName = Literal[
    "digits", "fashion", "rosenbrock", "starts", "products", "newton", "scaling", "autoencoder", "problems"
]


class Entry(NamedTuple):
    """A title, and a module with ``run``, ``targets`` and ``lines``, each of them given the part's name first."""

    title: str
    module: ModuleType


PARTS: dict[str, Entry] = {
    "digits": Entry("L-BFGS on softmax regression, digits", timed),
    "fashion": Entry("L-BFGS on softmax regression, Fashion-MNIST", timed),
    "rosenbrock": Entry("L-BFGS on Rosenbrock's function", timed),
    "starts": Entry("L-BFGS from many starts", starts),
    "products": Entry("Hessian-vector and Gauss-Newton products", products),
    "newton": Entry("Newton's method, and the dense Hessian", newton),
    "scaling": Entry("Time and memory of a step against the number of parameters", scaling),
    "autoencoder": Entry("Gauss-Newton and Adam on a deep autoencoder", autoencoder),
    "problems": Entry("The standard test problems", problems),
}
