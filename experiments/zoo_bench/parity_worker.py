"""The process that compares: it has both PyTorch and jax231, and is asked as `side_process` says."""

from importlib import metadata
from typing import Any

from side_process import serve


class Worker:
    """The functions that can be asked for; frameworks are imported with the first."""

    def hello(self) -> dict[str, Any]:
        """The machine and the versions."""
        from jax231.kernels import native
        from jax231.measure import machine

        versions = machine.versions() | {name: metadata.version(name) for name in ("torch", "torchvision")}
        return {
            "device": machine.device(), "versions": versions, "revision": machine.revision(),
            "compiled_kernels": native.active(),
        }  # fmt: skip

    def counts(self, name: str) -> dict[str, Any]:
        """Parameters and multiplications."""
        from zoo_bench import counts

        return counts.compare(name)

    def logits(self, name: str) -> dict[str, Any]:
        """Scores in evaluation mode."""
        from zoo_bench import logits

        return logits.compare(name)

    def step(self, name: str) -> dict[str, Any]:
        """A training step."""
        from zoo_bench import one_step

        return one_step.compare(name)


if __name__ == "__main__":
    serve(Worker())
