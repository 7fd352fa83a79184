"""A page as one file: a template with its styles, its scripts and the plotting library inside."""

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax231.report import words

TEMPLATES = Path(__file__).parent / "templates"


def assembled(template: str, styles: Sequence[str], scripts: Sequence[str], **content: Any) -> str:
    """The page by `template`, with the files named by `styles` and `scripts` put together in it.

    Raises: ModuleNotFoundError without the report extra.
    """
    jinja2, offline = _library("jinja2"), _library("plotly.offline")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "number": words.number,
        "duration": words.duration,
        "percent": words.percent,
        "label": words.label,
        "times": words.times,
        "range": words.spread_text,
        "between": words.between,
        "finite": math.isfinite,
    }
    return environment.get_template(template).render(
        **content,
        css=_joined(styles),
        script=_joined(scripts),
        # A closing tag inside the library's strings would end the element; JavaScript reads "<\/" the same.
        plotly=offline.get_plotlyjs().replace("</script", "<\\/script"),
    )


def _joined(names: Sequence[str]) -> str:
    return "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        message = "jax231 report: expected the report extra; pip install '.[report]' in a clone of jax231"
        raise ModuleNotFoundError(f"{message} ({error})", name=error.name) from error
