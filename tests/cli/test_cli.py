"""The command line: what it prints, what it refuses in one line, its exit codes."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import jax231
from jax231.cli import EPILOGUE, app, examples, main
from jax231.compare import problems
from jax231.compare.store import Store
from jax231.models import zoo
from jax231.optim import catalog, stock_table
from jax231.train.config import Config, to_toml
from tests.compilations import kept_in

TINY = [
    "compare", "--problems", "softmax", "--optimizers", "sgd", "lbfgs",
    "--settings", "2", "--seeds", "1", "--budget", "2", "--examples", "60",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory):
    with kept_in(tmp_path_factory.mktemp("compilations")) as variables:
        yield {**os.environ, **variables, "COLUMNS": "120"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder of runs, with one that is finished."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.raises(SystemExit) as caught:
        main([*TINY, "--runs", str(runs)])
    assert caught.value.code == 0
    return runs


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_reader_that_goes_away_is_no_mistake(environment):
    program = [sys.executable, "-c", "from jax231.cli import main; main(['optimizers', '--all'])"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


# Mistakes


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (["compar"], 'Unknown command "compar". Did you mean "compare"?'),
        (["optimisers"], 'Did you mean "optimizers"?'),
        (["data", "lst"], "list"),
        (["compare", "--problems", "softmx"], 'Did you mean "softmax"?'),
        (["compare", "--optimizers", "sgd", "adm"], 'Did you mean "adam"?'),
        (["compare", "--optimizers", "sgd", "kfac"], "got kfac, which needs taps"),
        (["compare", "--data", "minst"], 'Did you mean "mnist"?'),
        (["compare", "--budget", "0"], "compare: expected a finite budget above zero; got budget=0.0"),
        (["compare", "--budget", "inf"], "expected a finite budget above zero; got budget=inf"),
        (["compare", "--budget", "much"], "much"),
        (["compare", "--settings", "0"], "at least one setting"),
        (["compare", "--seeds", "0"], "at least one seed"),
        (["compare", "--problems"], "at least one of problems"),
        (["compare", "--optimizers", "sgd", "sgd"], "each of optimizers once"),
        (["compare", "--examples", "5"], "20 examples or more"),
        (["compare", "--examples", "99999"], "training examples of digits"),
        (["compare", "--bogus"], "--bogus"),
        (["compare", "--batch", "5"], "Did you mean --batch-size?"),
        (["tune", "fcn", "digits"], "got 'fcn' (nearest: fcn8s_vgg16, "),
        (["tune", "xyz", "digits"], "got 'xyz' (none is near; `jax231 models` lists them)"),
        (["train", "--learning-rate", "0.1"], "Unknown option: --learning-rate. Did you mean --rate?"),
        (["train", "--lr=0.1"], "Unknown option: --lr. Did you mean --rate?"),
        (["train", "--batch_size", "5"], "Did you mean --batch?"),
        (["train", "--weight-decay", "0.1"], "Did you mean --decay?"),
        (["train", "--dataset", "mnist"], "Did you mean --data?"),
        (["doctor", "--lr", "0.1"], "Did you mean --rate?"),
        (["tune", "lenet", "--num-epochs", "3"], "Did you mean --epochs?"),
        (["report"], "run"),
        (["data", "check", "digts"], "did you mean digits?"),
        (["data", "fetch", "nmist"], "did you mean mnist?"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(call, tmp_path, tokens, said):
    if tokens[0] == "compare":
        tokens = [*tokens, "--runs", tmp_path]
    code, _, err = call(*tokens)
    assert code == 2
    assert err.startswith("jax231: ") or tokens[:2] == ["data", "fetch"]
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_another_configuration_of_an_existing_run(call, folder):
    run = folder / "compare-digits"
    before = contents(run)
    code, out, err = call(*("5" if token == "2" else token for token in TINY), "--runs", folder)
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "settings 2 -> 5" in err
    assert "budget 2.0 -> 5.0" in err
    assert "Plan" not in out
    assert contents(run) == before


def test_a_folder_that_is_a_file(call, tmp_path):
    (tmp_path / "runs").write_text("mine")
    code, _, err = call(*TINY, "--runs", tmp_path / "runs")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "expected a folder that can be written" in err
    assert (tmp_path / "runs").read_text() == "mine"


def test_a_folder_of_something_else(call, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("mine")
    code, _, err = call(*TINY, "--runs", tmp_path, "--name", "thesis")
    assert code == 2
    assert "got other files" in err
    assert contents(tmp_path / "thesis") == {"thesis.tex": b"mine"}


def test_data_that_are_not_there(call, tmp_path):
    code, _, err = call("compare", "--data", "mnist", "--data-dir", tmp_path, "--runs", tmp_path / "runs")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert "jax231 data fetch mnist" in err


def test_a_report_of_nothing(call, tmp_path):
    code, out, err = call("report", tmp_path / "nothing")
    assert (code, out, len(err.strip().splitlines())) == (2, "", 1)
    assert str(tmp_path / "nothing") in err


def test_a_defect_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("jax231.cli.app", lambda *_, **__: json.loads("broken"))
    with pytest.raises(json.JSONDecodeError):
        main([])


# Listings and help


@pytest.mark.parametrize(
    ("command", "names"),
    [("optimizers", catalog.NAMES), ("problems", problems.NAMES), ("models", tuple(e.name for e in zoo.ENTRIES))],
)
def test_listings(call, command, names):
    code, out, err = call(command, "--json")
    rows = json.loads(out)
    assert (code, err) == (0, "")
    assert tuple(row["name"] for row in rows) == names
    code, table, _ = call(command)
    assert code == 0
    assert all(re.search(rf"\b{name}\b", table) for name in names)


def test_what_optax_has_besides_is_listed_on_demand(call):
    assert f"{len(stock_table.NAMES)} others" in call("optimizers")[1]
    table = call("optimizers", "--all")[1]
    assert all(re.search(rf"\b{name}\b", table) for name in (*catalog.NAMES, *stock_table.NAMES))
    rows = json.loads(call("optimizers", "--all", "--json")[1])
    assert tuple(row["name"] for row in rows) == catalog.NAMES + stock_table.NAMES


def test_the_listed_facts(call):
    rows = {row["name"]: row for row in json.loads(call("optimizers", "--json")[1])}
    assert (rows["adam"]["order"], rows["adam"]["setting"], rows["adam"]["batch"]) == (1, "step size", "mini-batch")
    assert rows["adam"]["default"] == Config(optimizer="adam").step_size
    assert rows["kfac"]["needs"] == ["value_fn", "outputs_fn", "outputs_loss", "taps"]
    assert (rows["newton"]["order"], rows["newton"]["limit"], rows["newton"]["low"]) == (2, 1500, 1e-6)
    rows = {row["name"]: row for row in json.loads(call("problems", "--json")[1])}
    assert rows["softmax"]["objective"] == "mean softmax cross entropy + 0.0005 sum W^2"
    rows = {row["name"]: row for row in json.loads(call("models", "--json")[1])}
    assert rows["softmax"]["start"] == "log k = 2.3"


def test_the_layers_of_a_model(call):
    rows = json.loads(call("models", "lenet", "--json")[1])
    assert [row["name"] for row in rows] == ["c1", "s2", "c3", "s4", "c5", "f6", "output"]
    assert sum(row["parameters"] for row in rows) == 61_706
    assert rows[2] == {
        "name": "c3", "kind": "Conv 5x5", "output": "10 x 10 x 16", "parameters": 2416, "macs": 240_000,
        "memory": 6400, "sees": "14 x 14",
    }  # fmt: skip
    code, _, errors = call("models", "lenett")
    assert code == 2
    assert "nearest: lenet" in errors


def test_a_model_of_another_size_drawn(call, tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "lenet.svg"
    code, out, err = call("models", "lenet", "--shape", "32x32x3", "--classes", 5, "--figure", picture, "--json")
    assert code == 0
    assert json.loads(out)[-1]["output"] == "5"
    assert str(picture) in err
    assert picture.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (["lenet", "--shape", "32x32"], "expected a shape like 28x28x1; got shape='32x32'"),
        (["lenet", "--shape", "32x0x3"], "expected a shape like 28x28x1"),
        (["lenet", "--shape", "8x8x1"], "images of at least 16x16"),
        (["lenet", "--classes", "-1"], "at least one class"),
        (["--figure", "lenet.png"], "the NAME of a model with --figure"),
    ],
)
def test_sizes_that_a_model_does_not_take(call, tokens, said):
    code, _, err = call("models", *tokens)
    assert code == 2
    assert said in err


def test_names_of_models_stay_whole_on_narrow_screens(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert "resnet110_stochastic_depth" in call("models")[1]


@pytest.mark.parametrize(
    ("tokens", "named"),
    [
        ([], ["compare", "report", "optimizers", "problems", "models", "data", "kernels", "Examples:"]),
        (
            ["compare"],
            ["--problems", "--optimizers", "--data", "--examples", "--budget", "--settings", "--seeds", "--batch-size",
             "--name", "--runs", "--data-dir", "Ctrl-C"],
        ),
        (["report"], ["RUN", "--picture", "report.html"]),
        (["optimizers"], ["--json", "--all"]),
        (["problems"], ["--json"]),
        (["models"], ["NAME", "--shape", "--classes", "--figure", "--json"]),
        (["data"], ["list", "fetch", "check"]),
        (["data", "list"], ["--json", "--data-dir"]),
        (["data", "fetch"], ["NAME", "--data-dir"]),
        (["data", "check"], ["--json", "--data-dir"]),
    ],
)  # fmt: skip
def test_help_names_the_options(call, tokens, named):
    code, out, err = call(*tokens, "--help")
    assert (code, err) == (0, "")
    assert [word for word in named if word not in out] == []
    assert "Usage: jax231" in out


COMMANDS = {name.lower(): shown for name, shown in vars(examples).items() if name.isupper()}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_opens_with_examples_of_its_own(call, command):
    code, out, _ = call(command, "--help")
    assert code == 0
    assert out.startswith(COMMANDS[command])
    assert max(map(len, COMMANDS[command].splitlines())) <= 80
    assert out.count("Examples:") == 1
    assert out.index("Usage: jax231") > out.index(f"jax231 {command}")


@pytest.mark.parametrize("line", [line for shown in [*COMMANDS.values(), EPILOGUE] for line in shown.splitlines()[2:]])
def test_examples_are_commands(line, tmp_path, monkeypatch):
    words = shlex.split(re.split(r" {3,}", line.strip())[0])
    assert words[0] == "jax231"
    for option in ("--config", "--resume"):  # files that the parser reads
        if option in words:
            path = tmp_path / words[words.index(option) + 1]
            folder = path.parent if option == "--config" else path
            folder.mkdir(parents=True)
            (folder / "config.toml").write_text(to_toml(Config()))
    monkeypatch.chdir(tmp_path)
    app.parse_args(words[1:], print_error=False, exit_on_error=False)


def test_python_runs_the_package():
    done = subprocess.run([sys.executable, "-m", "jax231", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"jax231 {jax231.__version__}\n"


def test_version(call):
    assert call("--version") == (0, f"jax231 {jax231.__version__}\n", "")


HEAVY = {"jax", "flax", "optax", "scipy", "sklearn", "plotly", "jinja2", "matplotlib", "pandas"}


def test_the_command_line_starts_without_heavy_imports():
    script = f"import sys, jax231.cli; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# The job


def test_a_comparison_end_to_end(call, folder):
    run = folder / "compare-digits"
    assert {"config.toml", "study.json", "sweep.jsonl", "runs.jsonl", "report.html"} <= {p.name for p in run.iterdir()}
    code, out, err = call(*TINY, "--runs", folder)  # again: nothing is left to do
    assert (code, err) == (0, "")
    assert "Nothing is left to do" in out
    table = out[out.index("Softmax regression") :].lower()
    for word in ("sgd", "bfgs", "loss", "cost", "seconds", "test", "diverged"):
        assert word in table
    assert f"results in {run}/" in out
    assert f"report: {(run / 'report.html').as_uri()}" in out


def test_the_first_comparison_prints_its_plan(call, tmp_path):
    code, out, _ = call(*TINY, "--runs", tmp_path, "--name", "mine")
    assert code == 0
    assert "programs to compile" in out
    assert out.index("Plan:") < out.index("Softmax regression")
    assert (tmp_path / "mine" / "report.html").exists()


def test_a_report_is_made_again(call, folder):
    run = folder / "compare-digits"
    (run / "report.html").unlink(missing_ok=True)
    code, out, err = call("report", run)
    assert (code, err) == (0, "")
    assert out.strip() == f"report: {(run / 'report.html').as_uri()}"
    assert "Softmax regression" in (run / "report.html").read_text()


def test_a_picture_where_none_can_be_written(call, folder, tmp_path):
    pytest.importorskip("matplotlib")
    code, _, err = call("report", folder / "compare-digits", "--picture", tmp_path / "none" / "picture.png")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    assert str(tmp_path / "none") in err


# As a process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_keeps_what_is_done(number, folder, tmp_path, environment):
    tokens = [*TINY, "--runs", str(tmp_path), "--name", "mine"]
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's `&` has it ignored
    command = [sys.executable, "-c", f"{heard}; from jax231.cli import main; main()", *tokens]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        for line in process.stdout:
            if "Plan:" in line:
                break
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in err
    assert "Traceback" not in err
    again = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert again.returncode == 0, again.stderr
    whole = Store(folder / "compare-digits")
    mine = Store(tmp_path / "mine")
    assert {key: lane.final for key, lane in mine.lanes().items()} == {
        k: lane.final for k, lane in whole.lanes().items()
    }
    assert {key: run.loss for key, run in mine.runs().items()} == {key: run.loss for key, run in whole.runs().items()}


def test_the_installed_command_exits_with_2(tmp_path):
    script = Path(sys.executable).parent / "jax231"
    if not script.exists():
        pytest.skip("jax231 is not installed as a command")
    done = subprocess.run([script, "compare", "--budget", "0"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "jax231: compare: expected a finite budget above zero; got budget=0.0\n"
    assert not list(tmp_path.iterdir())
