"""What the benchmarks say of a measurement: verdicts, memory of a tree of processes, parts of a run, differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.__main__ import BENCHMARKS, ONLY_IF_NAMED, main, summary
from benchmarks.measuring import Figure, MeasurementError, Report, Usage, clean_environment, measured, table
from benchmarks.whole_loop import Part, Step, differences, timeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("value", "bound", "more_is_better", "verdict"),
    [
        (179.9, 180.0, False, "met"),
        (180.0, 180.0, False, "met"),
        (180.1, 180.0, False, "MISSED"),
        (0.7, 0.8, True, "MISSED"),
        (0.8, 0.8, True, "met"),
        (5.0, None, False, ""),
    ],
)
def test_a_figure_is_compared_in_the_direction_of_its_bound(
    value: float, bound: float | None, more_is_better: bool, verdict: str
) -> None:
    assert Figure(name="any", value=value, bound=bound, more_is_better=more_is_better).verdict == verdict


def test_a_figure_is_compared_to_the_digits_in_which_it_is_shown() -> None:
    assert Figure(name="any", value=0.6057, bound=0.606, digits=3, more_is_better=True).verdict == "met"
    assert Figure(name="any", value=0.6057, bound=0.606, digits=4, more_is_better=True).verdict == "MISSED"


def test_the_memory_of_a_command_includes_that_of_the_processes_that_it_starts(tmp_path: Path) -> None:
    held = 200_000_000
    child = f"import time; held = b'x' * {held}; time.sleep(1.5)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    usage = measured(["-c", parent], clean_environment(tmp_path), tmp_path / "log")
    assert held < usage.peak_bytes < 2 * held
    assert usage.cpu_seconds > 0


def test_a_command_that_fails_is_an_error_with_the_end_of_its_output(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"expected exit code 0, found 3(.|\n)*the cause"):
        measured(["-c", "print('the cause'); raise SystemExit(3)"], clean_environment(tmp_path), tmp_path / "log")


def test_settings_of_the_caller_do_not_reach_what_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEADLINE_SIMULATION_LEADS", "5")
    monkeypatch.setenv("DAGSTER_HOME", "elsewhere")
    environment = clean_environment(tmp_path, LEADLINE_SOURCE="folder")
    assert {name: value for name, value in environment.items() if name.startswith(("LEADLINE_", "DAGSTER_"))} == {
        "LEADLINE_HOME": str(tmp_path),
        "LEADLINE_SOURCE": "folder",
    }


def test_the_parts_of_a_run_add_up_to_its_wall_time() -> None:
    usage = Usage(started_at=100.0, ended_at=130.0, cpu_seconds=0.0, peak_bytes=0, others_busy_cores=0.0)
    parts = timeline(usage, [Step("scores__conversion", 120.0, 128.0), Step("crm", 110.0, 115.0)])
    assert parts == [
        Part("start: imports, code location, planning", 10.0),
        Part("crm", 5.0),
        Part("scores/conversion", 8.0),
        Part("between steps", 5.0),
        Part("end: summary", 2.0),
    ]


def test_what_was_added_removed_or_changed_is_named() -> None:
    before = {"same": "1 row", "changed": "1 row", "removed": "1 row"}
    assert differences(before, {"same": "1 row", "changed": "2 rows", "added": "1 row"}) == [
        "added: absent → 1 row",
        "changed: 1 row → 2 rows",
        "removed: 1 row → absent",
    ]


def test_a_missed_bound_is_said_and_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missed = Report(name="load_time", figures=[Figure(name="seconds", value=3, bound=2)])
    monkeypatch.setitem(BENCHMARKS, "load_time", lambda: missed)
    assert main(["load_time"]) == 0
    printed = capsys.readouterr().out
    assert "MISSED" in printed
    assert printed.endswith("0 of 1 bounds met, 1 missed\n")


def test_a_skipped_benchmark_is_no_bound_that_was_met() -> None:
    lines = summary([Report(name="real_funnel", skipped="no data")])
    assert "skipped" in lines[1]
    assert lines[-1] == "0 of 0 bounds met, 0 missed"


def test_an_unknown_benchmark_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["speed"])
    assert "found speed" in capsys.readouterr().err


def test_what_takes_an_hour_runs_only_when_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def of(name: str) -> Callable[[], Report]:
        def run() -> Report:
            ran.append(name)
            return Report(name=name)

        return run

    for name in list(BENCHMARKS):
        monkeypatch.setitem(BENCHMARKS, name, of(name))
    main([])
    long = {
        "feature_sql_m",
        "feature_sql_x",
        "feature_increment_m",
        "feature_increment_x",
        "attributes",
        "known_since",
        "census",
        "hindsight",
        "leaks",
        "scenarios",
        "customer_scenarios",
        "churn",
    }
    assert set(ran) == BENCHMARKS.keys() - long
    assert {"feature_sql", "feature_increment", "drift_speed", "training_speed", "whole_loop"} <= set(ran)
    ran.clear()
    main(["scenarios"])
    assert ran == ["scenarios"]
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    long_ones = ", ".join(ONLY_IF_NAMED)
    assert f"all but {long_ones}, which" in shown


def test_columns_are_aligned() -> None:
    assert table([("name", "n"), ("long name", "10")]) == ["name        n", "long name  10"]
