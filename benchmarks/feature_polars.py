"""The forty features written by hand in Polars, in the two forms that are fastest there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.feature_queries import DAY_US, SINCE, WINDOWS

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

FACTS, OBSERVATIONS = "timeline.parquet", "observations.parquet"
"""The files in one folder that the forms read: the columns that they need from the tables of these names."""


def joined(folder: Path) -> pl.LazyFrame:
    """Return join, filter and conditional sums: the fastest form for sparse observations."""
    import polars as pl

    facts, observations = _inputs(folder)
    kinds = _kinds()
    both = observations.join(facts, on="lead_id").filter(pl.col("known_us") < pl.col("as_of_us"))
    age = pl.col("as_of_us") - pl.col("known_us")
    within = {window: age <= days * DAY_US for window, days in WINDOWS.items() if days is not None}
    flagged = both.select(
        "lead_id",
        "as_of_us",
        "known_us",
        *(condition.alias(name) for name, condition in kinds.items() if name != "facts"),
        *(condition.alias(window) for window, condition in within.items()),
    )
    counts = [_count(name, window).alias(f"{name}_count_{window}") for window in WINDOWS for name in kinds]
    last = [
        (pl.col("known_us") if kind == "facts" else pl.col("known_us").filter(pl.col(kind))).max().alias(f"last_{name}")
        for name, kind in SINCE.items()
    ]
    return _named(flagged.group_by("lead_id", "as_of_us").agg(*counts, *last))


def running(folder: Path) -> pl.LazyFrame:
    """Return running sums over sorted facts and ASOF joins to both ends of each window: linear in the density."""
    import polars as pl

    facts, observations = _inputs(folder)
    kinds = _kinds()
    so_far = (
        facts.sort("lead_id", "known_us")
        .select(
            "lead_id",
            "known_us",
            *(condition.cum_sum().cast(pl.Int64).over("lead_id").alias(name) for name, condition in kinds.items()),
            *(
                pl.when(kinds[kind]).then(pl.col("known_us")).forward_fill().over("lead_id").alias(f"last_{name}")
                for name, kind in SINCE.items()
            ),
        )
        # of facts at the same time, the last one has the sums of all
        .unique(["lead_id", "known_us"], keep="last", maintain_order=True)
    )
    # join_asof has no strict inequality: one microsecond earlier means strictly before
    answers = observations.sort("lead_id", "as_of_us").with_columns(
        (pl.col("as_of_us") - 1).alias("known_us"),
        *((pl.col("as_of_us") - days * DAY_US - 1).alias(f"edge_{days}") for days in WINDOWS.values() if days),
    )
    answers = answers.join_asof(so_far, on="known_us", by="lead_id", check_sortedness=False)
    for days in WINDOWS.values():
        if days is not None:
            answers = answers.join_asof(
                so_far.select("lead_id", "known_us", *kinds), left_on=f"edge_{days}", right_on="known_us", by="lead_id",
                suffix=f"_{days}", check_sortedness=False, coalesce=True,
            )  # fmt: skip
    counts = [
        (pl.col(name) if days is None else pl.col(name) - pl.col(f"{name}_{days}").fill_null(0))
        .alias(f"{name}_count_{window}")
        for window, days in WINDOWS.items()
        for name in kinds
    ]  # fmt: skip
    return _named(answers.select("lead_id", "as_of_us", *counts, *(f"last_{name}" for name in SINCE)))


FORMS = {"join": joined, "running sums": running}


def _inputs(folder: Path) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    import polars as pl

    return pl.scan_parquet(folder / FACTS), pl.scan_parquet(folder / OBSERVATIONS).select("lead_id", "as_of_us")


def _kinds() -> dict[str, pl.Expr]:
    import polars as pl

    interaction = pl.col("fact") == "interaction"
    types = {"calls": "call", "emails": "email", "meetings": "meeting", "web_visits": "web", "notes": "note"}

    def among(column: str, value: str) -> pl.Expr:
        return interaction & (pl.col(column) == value).fill_null(value=False)

    return {
        "facts": pl.col("fact").is_not_null(),
        "interactions": interaction,
        **{name: among("interaction_type", kind) for name, kind in types.items()},
        **{name: among("direction", name) for name in ("inbound", "outbound")},
    }


def _count(name: str, window: str) -> pl.Expr:
    import polars as pl

    if name == "facts":
        return pl.len().cast(pl.Int64) if window == "lifetime" else pl.col(window).sum().cast(pl.Int64)
    return (pl.col(name) if window == "lifetime" else pl.col(name) & pl.col(window)).sum().cast(pl.Int64)


def _named(answers: pl.LazyFrame) -> pl.LazyFrame:
    import polars as pl

    since = [
        ((pl.col("as_of_us") - pl.col(f"last_{name}")).cast(pl.Float64) / DAY_US).alias(f"days_since_last_{name}")
        for name in SINCE
    ]
    return answers.with_columns(since).drop([f"last_{name}" for name in SINCE])
