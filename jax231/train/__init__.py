"""Training: one pure step, epochs as one compiled program, checkpoints from which a run goes on bit for bit.

`loop.train(Config(...), folder)` trains, `run.open_run(folder)` reads what came out.
"""

from jax231.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    modules=(
        "answers", "checkpoint", "config", "devices", "doctor", "ensemble", "environment", "evaluate", "events",
        "failure", "feed", "folder", "inspect", "layout", "log", "loop", "members", "network", "optimizer", "predict",
        "processes", "recipes", "run", "sample", "snapshots", "splits", "state", "step", "transfer", "tune",
    ),
    names={"Config": "config", "TrainState": "state", "open_run": "run", "train": "loop"},
)  # fmt: skip
