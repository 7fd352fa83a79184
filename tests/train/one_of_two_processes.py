"""One of two processes that train together; ``test_processes.py`` starts them: COORDINATOR INDEX FOLDER.

First a run to its end in FOLDER/whole. Then one in FOLDER/lost, in whose second chunk the second process dies.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from jax231.train import processes
from jax231.train.loop import train
from tests import runs
from tests.train.test_processes import CONFIG


def main(coordinator: str, index: int, folder: Path) -> None:
    processes.join(coordinator, 2, index)
    options = {"splits": runs.images(), "chunk": 5}
    result = train(CONFIG, folder / "whole", devices=0, **options)
    print(f"test accuracy {result.test.accuracy}", flush=True)
    if index == 1:
        before = processes.of_any
        calls = []

        def dies(*facts: bool) -> tuple[bool, ...]:
            calls.append(facts)
            if len(calls) == 3:  # the first is that of the folder, the second that after the first chunk
                os._exit(9)
            return before(*facts)

        processes.of_any = dies
    try:
        train(replace(CONFIG, seed=1), folder / "lost", devices=0, save_seconds=0.0, **options)
    except processes.LostError as error:
        print(error, flush=True)
        processes.leave(3)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
