"""``jax231 kernels``: what is shown, compiled and removed."""

import json
import shutil

import pytest

from jax231.cli import main
from jax231.kernels import native
from tests.kernels.test_native import TINY


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Call `main` as a new process with an empty cache and tiny sources; exit code, standard output, standard error."""
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "kernel.cc").write_text(TINY)
    monkeypatch.setenv("JAX231_KERNELS_SOURCES", str(tmp_path / "sources"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "160")
    for name in ("CXX", "JAX231_KERNELS", "JAX231_KERNELS_FLAGS"):
        monkeypatch.delenv(name, raising=False)

    def call(*tokens: str) -> tuple[int, str, str]:
        monkeypatch.setattr(native, "_settled", None)
        with pytest.raises(SystemExit) as caught:
            main(["kernels", *tokens])
        return (caught.value.code, *capsys.readouterr())

    return call


@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="no C++ compiler here")
def test_shown_compiled_and_removed(call):
    code, out, err = call()
    assert (code, err) == (0, "")
    assert "not compiled yet" in out
    code, out, err = call("build")
    assert (code, out.count("kernels.so")) == (0, 1)
    assert err.count("\n") == 2
    code, again, err = call("build")
    assert (code, again, err) == (0, out, "")
    code, out, err = call()
    assert (code, err) == (0, "")
    assert all(word in out for word in ("active", "yes", "-O3", "kernels.so", "compiled in"))
    shown = json.loads(call("--json")[1])
    assert shown["active"]
    assert shown["library"].endswith("kernels.so")
    assert {"reason", "processor", "compiler", "flags", "seconds", "kernels"} <= set(shown)
    assert call("clear") == (0, "1 build removed\n", "")
    assert not json.loads(call("--json")[1])["active"]
    assert call("clear") == (0, "0 builds removed\n", "")


@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="no C++ compiler here")
def test_what_the_compiler_says_is_shown(call, tmp_path):
    (tmp_path / "sources" / "broken.cc").write_text("int x = y;\nint z = w;\n")
    code, out, err = call("build")
    assert (code, out) == (1, "")
    assert "broken.cc:2:" in err
    last = err.splitlines()[-1]
    assert last.startswith("jax231: kernels build: ")
    assert "could not make broken.cc: " in last
    code, out, err = call()
    assert (code, err) == (0, "")
    assert "could not make broken.cc" in out


def test_without_a_compiler(call, monkeypatch):
    monkeypatch.setenv("PATH", "")
    code, out, err = call("build")
    assert (code, out) == (1, "")
    assert err == "jax231: kernels build: no C++ compiler found (looked for c++, g++, clang++)\n"
    shown = json.loads(call("--json")[1])
    assert not shown["active"]
    assert "no C++ compiler found" in shown["reason"]


def test_compiled_but_switched_off(call, monkeypatch):
    monkeypatch.setenv("JAX231_KERNELS", "off")
    code, out, _ = call()
    assert code == 0
    assert "switched off" in out


def test_another_word_is_a_mistake_of_one_line(call, monkeypatch):
    monkeypatch.setenv("JAX231_KERNELS", "of")
    code, out, err = call()
    assert (code, out) == (2, "")
    assert err == "jax231: JAX231_KERNELS: expected on, off or require; got JAX231_KERNELS='of'\n"


@pytest.mark.parametrize(
    ("tokens", "named"),
    [((), ["build", "clear", "--json", "JAX231_KERNELS=off", "CXX"]), (("build",), ["Exit code 1"]), (("clear",), [])],
)
def test_help_teaches(call, tokens, named):
    code, out, err = call(*tokens, "--help")
    assert (code, err) == (0, "")
    assert "Usage: jax231 kernels" in out
    assert [word for word in named if word not in out] == []
