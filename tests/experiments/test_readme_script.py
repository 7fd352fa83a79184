"""The training script in the README, as it is written there."""

from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- script:begin -->\n```python\n", "```\n<!-- script:end -->"
LINES = 30


def test_it_recognises_digits(capsys):
    script = README.read_text().split(BEGIN)[1].split(END)[0]
    assert len([line for line in script.splitlines() if line]) <= LINES
    namespace = {"__name__": "script"}
    exec(compile(script, "README.md", "exec"), namespace)
    said = capsys.readouterr().out
    assert said.startswith("accuracy: ")
    assert float(said.split()[1]) > 0.95
