"""Making, keeping and loading the library of kernels, by sources that compile at once."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jax231.core import processor
from jax231.kernels import library, native, toolchain
from jax231.kernels.native import KernelError

TINY = """
#define SHOWN extern "C" __attribute__((visibility("default")))
SHOWN int jax231_kernel_count() { return 0; }
SHOWN const char* jax231_kernel_name(int) { return nullptr; }
SHOWN void* jax231_kernel_handler(int) { return nullptr; }
"""
ACTIVE = "from jax231.kernels import native; print(native.active())"


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """An empty cache, tiny sources, and a process that has not asked yet."""
    for name in ("CXX", "JAX231_KERNELS", "JAX231_KERNELS_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "kernel.cc").write_text(TINY)
    monkeypatch.setenv("JAX231_KERNELS_SOURCES", str(tmp_path / "sources"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "_settled", None)
    return tmp_path


@pytest.fixture
def forget(monkeypatch):
    """As if a new process asked."""
    return lambda: monkeypatch.setattr(native, "_settled", None)


@pytest.fixture
def compiler(machine, monkeypatch):
    """The system's compiler behind a shell script, which counts its calls and first does what `before` says."""
    try:
        path = toolchain.recipe().compiler[0]
    except KernelError:
        pytest.skip("no C++ compiler here")

    def wrap(before: str = "") -> None:
        script = f'#!/bin/sh\nif [ "$1" != --version ]; then echo call >>{machine}/calls; {before or ":"}; fi\n'
        (machine / "cxx").write_text(f'{script}exec {path} "$@"\n')
        (machine / "cxx").chmod(0o755)
        monkeypatch.setenv("CXX", str(machine / "cxx"))

    wrap()
    return wrap


@pytest.fixture
def calls(machine):
    """How many times the compiler was called; a build is two (compile, link)."""
    file = machine / "calls"
    return lambda: len(file.read_text().splitlines()) if file.exists() else 0


def process() -> subprocess.Popen:
    """Another process that asks."""
    return subprocess.Popen(
        [sys.executable, "-c", ACTIVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def wait_until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# Made once


def test_compiled_on_the_first_use_and_kept(compiler, calls, capfd, forget):
    before = native.status()
    assert (before.active, calls()) == (False, 0)
    assert "not compiled yet" in before.reason
    assert native.active()
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith(f"jax231: compiling the CPU kernels for {processor.name()} with ")
    assert second.startswith("jax231: compiled the CPU kernels in ")
    found = native.status()
    assert found.active
    assert found.library.is_file()
    assert found.seconds > 0
    assert "-O3" in found.flags
    forget()
    assert native.active()
    assert native.status() == found
    assert calls() == 2
    assert capfd.readouterr().err == ""


def test_threads_of_a_process_compile_once(compiler, calls):
    compiler("sleep 0.2")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(native.active())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 4
    assert calls() == 2


def test_processes_at_once_compile_once(compiler, calls):
    compiler("sleep 1")
    errors = ""
    for one in [process(), process()]:
        out, err = one.communicate(timeout=60)
        assert out == "True\n", err
        errors += err
    assert calls() == 2
    assert errors.count("compiled the CPU kernels in") == 1


def test_a_killed_builder_leaves_nothing_that_hurts(compiler, calls):
    compiler("sleep 60")
    killed = process()
    wait_until(calls)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    (left,) = library.folder().glob("*.part")
    compiler()
    assert native.active()
    os.utime(left, (0, 0))
    native.clear()
    left.mkdir()
    os.utime(left, (0, 0))
    native.build()
    assert not left.exists()


@pytest.mark.parametrize("damage", ["cut", "changed", "no record", "torn record", "no library"])
def test_a_damaged_library_is_noticed_and_compiled_again(compiler, calls, damage, capfd, forget):
    assert native.active()
    path = native.status().library
    record = path.with_name(library.RECORD)
    whole = path.read_bytes()
    path.unlink()  # this process has it loaded
    if damage == "cut":
        path.write_bytes(whole[:5000])
    elif damage == "changed":
        path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    elif damage != "no library":
        path.write_bytes(whole)
        record.unlink() if damage == "no record" else record.write_text(record.read_text()[:20])
    capfd.readouterr()
    forget()
    assert not native.status().active
    assert native.active()
    assert "damaged and will be compiled again" in capfd.readouterr().err
    assert calls() == 4


def test_the_digest_follows_everything_the_library_depends_on(compiler, machine, monkeypatch):
    seen = [toolchain.recipe().digest]
    assert seen == [toolchain.recipe().digest]

    def differs() -> bool:
        seen.append(toolchain.recipe().digest)
        return len(set(seen)) == len(seen)

    (machine / "sources" / "kernel.h").write_text("")
    assert differs()
    (machine / "sources" / "kernel.cc").write_text(f"{TINY}\n")
    assert differs()
    monkeypatch.setenv("JAX231_KERNELS_FLAGS", "-g -O1")
    assert differs()
    assert toolchain.recipe().flags[-2:] == ("-g", "-O1")
    monkeypatch.setattr(processor, "identity", lambda: "another")
    assert differs()
    monkeypatch.setattr(toolchain.metadata, "version", lambda _: "9.9")
    assert differs()
    (machine / "cxx").write_text("#!/bin/sh\necho another compiler 1.0\n")
    assert differs()
    assert toolchain.recipe().version == "another compiler 1.0"


def test_old_builds_go_when_another_is_made(compiler, machine, monkeypatch):
    homes = []
    for flags in ("-O0", "-O1", "-O2"):
        monkeypatch.setenv("JAX231_KERNELS_FLAGS", flags)
        homes.append(native.build().path.parent)
        if flags == "-O0":
            os.utime(homes[0] / library.RECORD, (0, 0))
    assert [home.exists() for home in homes] == [False, True, True]
    os.utime(homes[2] / library.RECORD, (0, 0))
    assert native.active()  # use makes it new
    assert (homes[2] / library.RECORD).stat().st_mtime > time.time() - 60
    assert native.clear() == 2
    assert [path.name for path in library.folder().iterdir()] == ["lock"]
    assert native.clear() == 0


def test_nothing_to_clear():
    assert native.clear() == 0
    assert not library.folder().exists()


# Nothing compiled


def assert_plain(capfd, reason: str) -> None:
    """Not active, and one line says why, once."""
    assert not native.active()
    assert not native.active()
    (line,) = [line for line in capfd.readouterr().err.splitlines() if "the CPU kernels" not in line]
    assert line.startswith("jax231: the slower plain JAX kernels are used: ")
    assert reason in line
    assert reason in native.status().reason


def test_no_compiler(monkeypatch, capfd):
    monkeypatch.setenv("PATH", "")
    assert not native.status().active
    assert_plain(capfd, "no C++ compiler found (looked for c++, g++, clang++)")
    monkeypatch.setenv("CXX", "nowhere/c++ -m64")
    with pytest.raises(KernelError, match=r"looked for CXX=nowhere/c\+\+ -m64"):
        native.build()


def test_another_system(monkeypatch, capfd):
    monkeypatch.setattr(sys, "platform", "win32")
    assert_plain(capfd, "no compiled kernels for")


def test_a_compiler_that_does_not_run(machine, monkeypatch, capfd):
    monkeypatch.setenv("CXX", "false")
    assert_plain(capfd, "does not run")


def test_sources_that_do_not_compile(compiler, calls, machine, capfd, forget):
    (machine / "sources" / "broken.cc").write_text("int x = y;\n")
    assert_plain(capfd, "could not make broken.cc: ")
    tried = calls()
    forget()
    assert_plain(capfd, "could not make broken.cc: ")  # not tried again by every process
    assert calls() == tried
    with pytest.raises(KernelError, match=r"broken\.cc:1:\d+: error:") as caught:
        native.build()
    assert "broken.cc" in caught.value.output
    assert calls() > tried
    (failed,) = library.folder().glob(f"*{library.FAILURE}")
    os.utime(failed, (0, 0))
    tried = calls()
    forget()
    assert not native.active()
    assert calls() > tried


def test_a_compiler_that_is_killed_may_be_tried_again(compiler, capfd, forget):
    compiler("kill -9 $$")
    assert_plain(capfd, "exit status -9")
    compiler()
    forget()
    assert native.active()


def test_a_compiler_without_an_archive_of_its_runtime(compiler, calls):
    compiler('case "$*" in *-static-libstdc++*) exit 1;; esac')
    assert native.active()
    assert calls() == 3


def test_a_library_that_does_not_load(compiler, machine, capfd):
    (machine / "sources" / "needs.cc").write_text("extern int missing;\nint* needed = &missing;\n")
    assert_plain(capfd, "the compiled library does not load")


def test_a_cache_that_cannot_be_written(compiler, machine, capfd):
    (machine / "cache").write_text("a file")
    assert_plain(capfd, "XDG_CACHE_HOME names another folder")


# The switch


def test_off_is_silent(monkeypatch, capfd):
    monkeypatch.setenv("JAX231_KERNELS", "off")
    assert not native.active()
    assert native.status().reason == "switched off by JAX231_KERNELS=off"
    assert not library.folder().exists()
    assert capfd.readouterr() == ("", "")


def test_require_makes_an_error_of_it(monkeypatch):
    monkeypatch.setenv("JAX231_KERNELS", "require")
    monkeypatch.setenv("PATH", "")
    for _ in range(2):
        with pytest.raises(KernelError, match=r"no C\+\+ compiler found"):
            native.active()


def test_require_where_nothing_stands_against_it(compiler, monkeypatch):
    monkeypatch.setenv("JAX231_KERNELS", "require")
    assert native.active()


@pytest.mark.parametrize("ask", [native.active, native.status])
def test_another_word_is_refused(monkeypatch, ask):
    monkeypatch.setenv("JAX231_KERNELS", "of")
    with pytest.raises(ValueError, match=r"JAX231_KERNELS: expected on, off or require; got JAX231_KERNELS='of'"):
        ask()


def test_asking_imports_jax_only_to_load(monkeypatch):
    monkeypatch.setenv("JAX231_KERNELS", "off")
    script = f"import sys; {ACTIVE}; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.split() == ["False", "False"]
