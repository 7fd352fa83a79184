"""A small comparison that never ran: the files of a run folder, made from formulas, the same every time."""

import json
from pathlib import Path

import numpy as np

SEEDS, FRESH = [0, 1, 2], [3, 4, 5]

PROBLEMS = {
    "softmax": ("Softmax regression", 650, True, 2.303, 0.0),
    "svm": ("SVM, squared hinge", 650, True, 9.0, 0.0),
    "mlp": ("Two-layer net, tanh", 4810, False, 2.303, 0.0),
    "convnet": ("Small ConvNet", 5994, False, 2.303, 0.0),
}
# title, order, mode, speed of the decay per gradient-equivalent, floor of the gap, share of the grid that fails
OPTIMIZERS = {
    "sgd": ("SGD", 1, "mini-batch", 0.055, 6e-3, 0.25),
    "momentum": ("Momentum", 1, "mini-batch", 0.11, 4e-3, 0.25),
    "nesterov": ("Nesterov", 1, "mini-batch", 0.12, 3e-3, 0.25),
    "nesterov_ahead": ("Nesterov, look-ahead", 1, "mini-batch", 0.07, 3e-3, 0.25),
    "adagrad": ("AdaGrad", 1, "mini-batch", 0.09, 2e-3, 0.1),
    "rmsprop": ("RMSProp", 1, "mini-batch", 0.14, 6e-3, 0.15),
    "adam": ("Adam", 1, "mini-batch", 0.16, 1.5e-3, 0.1),
    "damped_newton": ("Damped Newton", 2, "full batch", 0.5, 0.0, 0.0),
    "newton_cg": ("Newton-CG", 2, "full batch", 0.35, 0.0, 0.0),
    "lbfgs": ("L-BFGS", 2, "full batch", 0.6, 0.0, 0.0),
}
BUDGET = 120.0
BEST = 0.08


def write_study(
    folder: Path,
    problems: tuple[str, ...] = tuple(PROBLEMS),
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS),
    fail: tuple[tuple[str, str], ...] = (),
    titles: dict[str, str] | None = None,
) -> Path:
    """Write a whole run folder; every run of the pairs in `fail` diverges, `titles` replace the stock ones."""
    folder.mkdir(parents=True, exist_ok=True)
    titles = titles or {}
    study = {
        "format": 1,
        "name": folder.name,
        "created": "2026-11-20T14:03:11+00:00",
        "command": "jax231 compare",
        "versions": {"jax231": "0.1.0", "python": "3.11.9", "jax": "0.10.2", "optax": "0.2.8", "numpy": "2.4.6"},
        "device": {
            "platform": "cpu",
            "kind": "cpu",
            "count": 1,
            "cpu": "Intel(R) Xeon(R) Processor @ 2.70GHz",
            "cores": 2,
            "memory_gb": 15.6,
            "os": "Linux 6.1",
        },
        "revision": "0f9f5dc0f9f5dc0f9f5dc0f9f5dc0f9f5dc0f9f5",
        "seeds": SEEDS,
        "fresh_seeds": FRESH,
        "problems": {name: _problem(name, titles) for name in problems},
        "optimizers": {name: _optimizer(name, titles) for name in optimizers},
        "digests": {"digits.csv.gz": "ab" * 32},
        "a key of a later version": 1,
    }
    (folder / "study.json").write_text(json.dumps(study))
    (folder / "config.toml").write_text(
        "[compare]\n"
        + f"problems = {json.dumps(list(problems))}\noptimizers = {json.dumps(list(optimizers))}\n"
        + f"seeds = 3\nbudget = {BUDGET}\n"
    )
    pairs = [(problem, optimizer) for problem in problems for optimizer in optimizers if applies(problem, optimizer)]
    lanes = [lane for pair in pairs for lane in sweep(*pair, failed=pair in fail)]
    runs = [run for pair in pairs for run in finals(*pair, failed=pair in fail)]
    write_records(folder / "sweep.jsonl", lanes)
    write_records(folder / "runs.jsonl", runs)
    return folder


def write_records(path: Path, records: list[dict]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def applies(problem: str, optimizer: str) -> bool:
    """Damped Newton forms the Hessian, which the nets are too large for."""
    return not (optimizer == "damped_newton" and not PROBLEMS[problem][2])


def _problem(name: str, titles: dict[str, str]) -> dict:
    title, parameters, convex, start, bound = PROBLEMS[name]
    return {
        "title": titles.get(name, title),
        "source": "CS231n notes, linear-classify",
        "data": "1,797 handwritten digits of 8x8 pixels (scikit-learn), shuffled with seed 0, pixels divided by 16.",
        "parameters": parameters,
        "examples": {"train": 1197, "validation": 300, "test": 300},
        "batch": 128,
        "objective": "mean cross entropy + 5e-4 |W|^2",
        "expected_start": start,
        "lower_bound": bound,
        "convex": convex,
        "budget": BUDGET,
        "rates": {
            "gradient_seconds": 4.1e-4 * (1 if convex else 12),
            "loss": 0.41,
            "hvp": 2.13,
            "hessian": 96.2 if convex else None,
            "spread": {"hvp": 0.031, "loss": 0.052, "gradient": 0.02},
        },
        "optimizers": [optimizer for optimizer in OPTIMIZERS if applies(name, optimizer)],
    }


def _grid(optimizer: str) -> list[float]:
    return [float(x) for x in np.logspace(-3, 1, 9) if OPTIMIZERS[optimizer][1] == 1 or x <= 1.1]


def _optimizer(name: str, titles: dict[str, str]) -> dict:
    title, order, mode, *_ = OPTIMIZERS[name]
    setting = "step size" if order == 1 else "damping"
    return {
        "title": titles.get(name, title),
        "order": order,
        "setting": setting,
        "mode": mode,
        "grid": _grid(name),
        "note": "stops when the gradient's norm is below 1e-6" if order == 2 else None,
    }


def _curve(problem: str, optimizer: str, seed: int, cost: np.ndarray) -> np.ndarray:
    """The loss after `cost` gradient-equivalents: exponential decay to a noisy floor."""
    _, order, _, speed, floor, _ = OPTIMIZERS[optimizer]
    rng = np.random.default_rng([seed, list(PROBLEMS).index(problem), list(OPTIMIZERS).index(optimizer)])
    start = PROBLEMS[problem][3] * (1 + 0.02 * (seed % 3))
    hard = {"softmax": 1.0, "svm": 0.8, "mlp": 0.5, "convnet": 0.35}[problem]
    if order == 2 and not PROBLEMS[problem][2]:
        hard *= 0.25
    rate = speed * hard * rng.uniform(0.85, 1.15)
    gap = np.exp(-rate * cost) + floor * rng.uniform(0.6, 1.6, len(cost)) * (cost > 0) + 2e-8 * seed
    return BEST + (start - BEST) * gap


def finals(problem: str, optimizer: str, failed: bool = False) -> list[dict]:
    """The final runs of the winning setting, one a fresh seed."""
    _, order, _, speed, _, _ = OPTIMIZERS[optimizer]
    records = []
    each = 0.142 if order == 1 else 96.0 / 20 if optimizer == "damped_newton" else 3.1
    second = 4.1e-4 * (1 if PROBLEMS[problem][2] else 12)
    for seed in FRESH:
        every = 4 if order == 1 else 1
        steps = np.arange(0, int(BUDGET / each) + 1, every)
        cost = steps * each
        loss = _curve(problem, optimizer, seed, cost)
        status = "budget"
        if order == 2:
            done = int(np.argmax(loss < BEST * (1 + 1e-6) + 1e-6)) or len(loss) - 1
            steps, cost, loss = steps[: done + 1], cost[: done + 1], loss[: done + 1]
            status = "converged" if done < int(BUDGET / each) else "budget"
        values = [float(x) for x in loss]
        accuracy = [float(x) for x in 0.97 - 0.87 * (loss - BEST) / (loss[0] - BEST) - 0.002 * seed]
        if failed:
            cut = 6 + seed
            steps, cost = steps[:cut], cost[:cut]
            values = [*(float(x) for x in loss[0] * 1.6 ** np.arange(cut - 1)), None]
            accuracy, status = [*accuracy[: cut - 1], None], "diverged"
        records.append(
            {
                "problem": problem,
                "optimizer": optimizer,
                "setting": _grid(optimizer)[_winner(optimizer)],
                "seed": seed,
                "edge": "high" if optimizer == "adagrad" else None,
                "steps": steps.tolist(),
                "cost": cost.tolist(),
                "seconds": (cost * second * (1.0 if order == 2 else 1.7) * (1 + 0.03 * (seed % 2))).tolist(),
                "loss": values,
                "test_accuracy": accuracy,
                "diverged": failed,
                "status": status,
                "counts": {
                    "loss": float(len(steps)),
                    "gradient": float(steps[-1]),
                    "hvp": float(steps[-1]) * 8 * (optimizer == "newton_cg"),
                    "hessian": float(steps[-1]) * (optimizer == "damped_newton"),
                },
                "compile_seconds": 0.42 + speed,
            }
        )
    return records


def _winner(optimizer: str) -> int:
    grid = _grid(optimizer)
    return len(grid) - 1 if optimizer == "adagrad" else {1: 5, 2: 2}[OPTIMIZERS[optimizer][1]]


def sweep(problem: str, optimizer: str, failed: bool = False) -> list[dict]:
    """The lanes of the sweep: a valley around the winner, failures at large steps."""
    *_, floor, share = OPTIMIZERS[optimizer]
    grid = _grid(optimizer)
    records = []
    for index, setting in enumerate(grid):
        for seed in SEEDS:
            start = PROBLEMS[problem][3] * (1 + 0.02 * (seed % 3))
            away = abs(index - _winner(optimizer))
            gap = min(1.0, (floor or 1e-5) * 6.0**away * (1 + 0.2 * seed))
            diverged = failed or index >= len(grid) - share * len(grid) + 1e-9 * seed
            final = BEST + (start - BEST) * gap
            records.append(
                {
                    "problem": problem,
                    "optimizer": optimizer,
                    "setting": setting,
                    "seed": seed,
                    "start": start,
                    "final": None if diverged else final,
                    "best": start if diverged else final,
                    "steps": 400,
                    "cost": BUDGET / (8 if diverged else 1),
                    "diverged": bool(diverged),
                    "accuracy": None if diverged else 0.96 - 0.8 * gap,
                }
            )
    return records
