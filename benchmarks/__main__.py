"""The command behind `make bench`: ``python -m benchmarks [name …]``; without names, all but the longest ones run."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from typing import TYPE_CHECKING

from benchmarks import (
    attributes,
    census,
    churn,
    drift_speed,
    feature_increment,
    feature_sql,
    hindsight,
    known_since,
    leaks,
    load_time,
    real_funnel,
    scenarios,
    training_speed,
    truth,
    whole_loop,
)
from benchmarks.measuring import Report, machine, table
from store.settings import prepare_process

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BENCHMARKS: dict[str, Callable[[], Report]] = {
    "load_time": load_time.run,
    "real_funnel": real_funnel.run,
    "whole_loop": whole_loop.run,
    "feature_sql": feature_sql.run,
    "feature_sql_m": partial(feature_sql.run, ("S", "M")),
    "feature_sql_x": partial(feature_sql.run, ("S", "M", "X")),
    "feature_increment": feature_increment.run,
    "feature_increment_m": partial(feature_increment.run, ("M",)),
    "feature_increment_x": partial(feature_increment.run, ("X",)),
    "drift_speed": drift_speed.run,
    "training_speed": training_speed.run,
    "truth": truth.run,
    "churn": churn.run,
    "census": census.run,
    "hindsight": hindsight.run,
    "known_since": known_since.run,
    "scenarios": scenarios.run,
    "customer_scenarios": partial(scenarios.run, "customer"),
    "leaks": leaks.run,
    "attributes": attributes.run,
}
ONLY_IF_NAMED = (
    "feature_sql_m",
    "feature_sql_x",
    "feature_increment_m",
    "feature_increment_x",
    "churn",
    "census",
    "hindsight",
    "known_since",
    "scenarios",
    "customer_scenarios",
    "leaks",
    "attributes",
)
"""Benchmarks that take many minutes."""


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks and print a summary. A missed bound is no error, because seconds depend on the machine."""
    prepare_process()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the project promises.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="name",
        help=f"any of {', '.join(BENCHMARKS)}; by default all but {', '.join(ONLY_IF_NAMED)}, which take long",
    )
    names = parser.parse_args(arguments).names or [name for name in BENCHMARKS if name not in ONLY_IF_NAMED]
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"expected names among {', '.join(BENCHMARKS)}, found {', '.join(unknown)}")
    print("\n".join(machine()))
    reports = []
    for name in names:
        print(f"\n== {name}", flush=True)
        report = BENCHMARKS[name]()
        reports.append(report)
        print("\n".join(report.details) if report.skipped is None else f"skipped: {report.skipped}", flush=True)
    print("\n== summary")
    print("\n".join(summary(reports)))
    return 0


def summary(reports: Sequence[Report]) -> list[str]:
    """Return one line per figure, and a last line that counts the bounds met and missed."""
    rows = []
    for report in reports:
        rows += [(report.name, *figure.cells()) for figure in report.figures]
        if report.skipped is not None:
            rows.append((report.name, "skipped", "", "", ""))
    verdicts = [verdict for *_, verdict in rows if verdict]
    return [
        *table([("benchmark", "figure", "value", "bound", ""), *rows], left=2),
        "",
        f"{verdicts.count('met')} of {len(verdicts)} bounds met, {verdicts.count('MISSED')} missed",
    ]


if __name__ == "__main__":
    sys.exit(main())
