"""The examples of docs/simulation.md run."""

import re
import shlex
from pathlib import Path

import pytest

from simulation.__main__ import main
from simulation.truth import Truth

PAGE = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text(encoding="utf-8")
COMMAND = ".venv/bin/python -m simulation "
FEW = 500


def test_every_example_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # few leads are played as many are
    monkeypatch.setitem(Truth.play.__kwdefaults__, "leads", FEW)
    commands = [line.removeprefix(COMMAND) for line in PAGE.splitlines() if line.startswith(COMMAND)]
    assert len(commands) == 5
    for command in commands:
        main([*shlex.split(command), *(["--leads", str(FEW)] if command.startswith("truth") else [])])
    assert "Scenario price_shock from 2025-10-01 on" in capsys.readouterr().out
    examples = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert len(examples) == 5
    names: dict[str, object] = {}
    for example in examples:
        exec(example, names)
    assert {path.name for path in tmp_path.iterdir()} == {"crm", "hubspot", "shocked", "patient", "shop"}
