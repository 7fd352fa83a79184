"""The command line: ``jax231 COMMAND``. Everything a command does is a call of the library."""

import os
import signal
import sys
from typing import NoReturn

from cyclopts import App, CycloptsError, Parameter, UnknownOptionError
from rich.console import Console

import jax231
from jax231.cli import examples
from jax231.cli.compare import compare
from jax231.cli.data import data
from jax231.cli.doctor import doctor
from jax231.cli.ensemble import ensemble
from jax231.cli.kernels import kernels
from jax231.cli.listings import models, optimizers, problems
from jax231.cli.predict import predict, recipes, sample
from jax231.cli.report import report
from jax231.cli.train import evaluate, train
from jax231.cli.tune import tune

EPILOGUE = """\
Examples:

  jax231 compare                                   nine optimizers on four problems over embedded digits
  jax231 compare --problems softmax --optimizers adam lbfgs
  jax231 compare --data fashion_mnist --problems softmax --examples 5000
  jax231 train --model lenet --data mnist --optimizer nesterov --schedule cosine --epochs 10
  jax231 train --resume runs/lenet-mnist           go on after an interruption, with the same bits
  jax231 predict runs/lenet-mnist digit.png        the five most probable classes
  jax231 optimizers                                what can be compared, and when to use it
  jax231 train --help                              the options of a command, after examples of its own
"""

SYNONYMS = {
    "--learning-rate": "--rate",
    "--lr": "--rate",
    "--batch-size": "--batch",
    "--weight-decay": "--decay",
    "--wd": "--decay",
    "--dataset": "--data",
    "--num-epochs": "--epochs",
    "--n-epochs": "--epochs",
}
"""What other programs call our options."""

INTERRUPTED = "Interrupted. What was finished is kept: the same command goes on from there."

app = App(
    name="jax231",
    help="Stanford's CS231n as compiled, functional JAX: compare first- and second-order optimizers, fairly.",
    help_epilogue=EPILOGUE,
    help_format="plaintext",
    version=lambda: f"jax231 {jax231.__version__}",
    default_parameter=Parameter(negative=()),
    suppress_keyboard_interrupt=False,  # `main` says what an interruption leaves behind
)
for command, shown in (
    (compare, examples.COMPARE),
    (report, examples.REPORT),
    (optimizers, examples.OPTIMIZERS),
    (problems, examples.PROBLEMS),
    (models, examples.MODELS),
    (train, examples.TRAIN),
    (evaluate, examples.EVALUATE),
    (predict, examples.PREDICT),
    (ensemble, examples.ENSEMBLE),
    (sample, examples.SAMPLE),
    (recipes, examples.RECIPES),
    (doctor, examples.DOCTOR),
    (tune, examples.TUNE),
    (data, examples.DATA),
    (kernels, examples.KERNELS),
):
    if isinstance(command, App):
        command.help_prologue, command.help_epilogue = shown, ""
        app.command(command)
    else:
        app.command(command, help_prologue=shown, help_epilogue="")
app.register_install_completion_command(name="install-completion", help_epilogue="")


def main(tokens: list[str] | None = None) -> NoReturn:
    """Run one command; exits with its code, 2 for a caller's mistake (one line on standard error), 130 interrupted."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = app(tokens, print_error=False, exit_on_error=False, result_action="return_value")
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter tries again as it ends
        sys.exit(1)
    except UnknownOptionError as error:
        _fail(_unknown(error))
    except CycloptsError as error:
        _fail(str(error))
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if isinstance(error, OSError) and error.filename is not None:  # the system refused a file that a caller named
            _fail(f"{error.filename}: {error.strerror}")
        if _is_ours(error):
            _fail(str(error))
        raise
    except KeyboardInterrupt as interrupt:
        said = interrupt.args[0] if interrupt.args else INTERRUPTED
        Console(stderr=True).print(f"\n{said}", soft_wrap=True, highlight=False)
        sys.exit(130)
    sys.exit(code or 0)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _unknown(error: UnknownOptionError) -> str:
    """The message for an option that the command does not have, with the one it has for the same thing."""
    word = (error.token.keyword or error.token.value).partition("=")[0]
    meant = SYNONYMS.get(word.lower().replace("_", "-"))
    known = {name for argument in error.argument_collection for name in argument.names}
    return f"Unknown option: {word}. Did you mean {meant}?" if meant in known else str(error)


def _is_ours(error: Exception) -> bool:
    """Whether jax231 raised `error` for its caller; anything else is a defect and keeps its traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__", "")).startswith("jax231")


def _fail(message: str) -> NoReturn:
    print("jax231:", " ".join(message.split()), file=sys.stderr)
    sys.exit(2)
