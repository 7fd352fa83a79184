import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import jax231
from jax231.core.lazy import attach


def run(code, *path):
    """Run `code` in a fresh interpreter, which fails where an assertion does."""
    sys_path = f"import sys; sys.path[:0] = {list(map(str, path))}\n"
    done = subprocess.run(
        [sys.executable, "-c", sys_path + textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_package_loads_no_jax_until_it_is_asked():
    run("""
        import sys, jax231
        heavy = {"jax", "jaxlib", "numpy", "scipy", "flax", "optax", "sklearn"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        assert jax231.__version__
        jax231.functional.affine
        assert "jax" in sys.modules
    """)


def test_dir_lists_the_folders():
    folders = {path.parent.name for path in Path(jax231.__file__).parent.glob("*/__init__.py")}
    assert set(dir(jax231)) | {"cli"} >= folders
    assert set(jax231.__all__) <= folders
    for name in jax231.__all__:
        assert getattr(jax231, name).__name__ == f"jax231.{name}"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'jax231' has no attribute 'functionals'"):
        _ = jax231.functionals


def test_names_load_their_own_file_only(tmp_path):
    house = tmp_path / "house"
    house.mkdir()
    lines = ["from jax231.core.lazy import attach", "names = {'oven': 'kitchen', 'bed': 'bed'}"]
    lines.append("__getattr__, __dir__, __all__ = attach(__name__, modules=['kitchen'], names=names)")
    (house / "__init__.py").write_text("\n".join(lines))
    (house / "kitchen.py").write_text("oven = 'hot'")
    (house / "bed.py").write_text("bed = 'warm'")
    run(
        """
        import sys, house
        assert dir(house) == ["bed", "kitchen", "oven"], dir(house)
        assert house.oven == "hot" and "house.bed" not in sys.modules
        assert house.bed == "warm" and house.bed == "warm"  # not the submodule of the same name
        from house import *
        assert kitchen.oven == oven
        """,
        tmp_path,
        Path(jax231.__file__).parents[1],
    )


def test_all_is_sorted():
    _, listing, everything = attach("anything", modules=["b", "a"], names={"c": "b"})
    assert listing() == everything == ["a", "b", "c"]
