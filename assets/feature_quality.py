"""Layer `feature_quality`: what each feature of a view is worth, in ``ml.ml_feature_quality``, and checks that say so.

Flags are information: no feature is dropped for one. What counts as missing is what is missing *after* imputation by
the view itself, which fills counts with 0 and categories with ``unknown``; what is null there, such as the days since
something that never happened, the models learn from as missing.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from assets.dbt import manifest_path
from assets.ml_tables import ensure, replace_feature_quality
from assets.resources import WAREHOUSE_POOL
from assets.warehouse import Excerpt, Warehouse
from models.declaration import FeatureView
from models.learning import threads
from models.markdown import markdown_table
from models.registry import DECLARATIONS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from duckdb import DuckDBPyConnection

MIN_COMPLETENESS = 0.95
MAX_CORRELATION = 0.95
SAMPLE_ROWS = 10_000
"""Rows from which correlations and outlier bounds are taken."""
MIN_PAIRS = 50
"""Rows in which both features must have a value for their correlation to say anything."""
OUTLIER_BOUNDS = (0.001, 0.999)
"""Quantiles beyond which a value counts as an outlier."""


@dataclass(frozen=True, kw_only=True)
class FeatureQuality:
    """What was measured of one feature, over all rows of its view unless it says otherwise.

    Attributes
    ----------
    feature, feature_group : str
        The column, and its group in the dbt project.
    rows : int
    completeness : float
        Share of the rows with a value, after imputation by the view; 1 where there are no rows.
    constant : bool
        Whether no two rows differ.
    most_correlated_with : str or None
        The other feature with the largest correlation by its amount. None for text, and where none is defined.
    correlation : float or None
        That correlation, between ranks, over the sample; -1 to 1.
    minimum, maximum : float or None
        Of numbers; false is 0 and true is 1.
    lower_bound, upper_bound : float or None
        Quantiles `OUTLIER_BOUNDS` of the values in the sample.
    outlier_share : float or None
        Share of the values below the one or above the other.
    """

    feature: str
    feature_group: str
    rows: int
    completeness: float
    constant: bool
    most_correlated_with: str | None
    correlation: float | None
    minimum: float | None
    maximum: float | None
    lower_bound: float | None
    upper_bound: float | None
    outlier_share: float | None

    @property
    def incomplete(self) -> bool:
        """Whether too many rows have no value."""
        return self.completeness < MIN_COMPLETENESS

    @property
    def redundant(self) -> bool:
        """Whether another feature orders the rows all but the same way, or the other way round."""
        return self.correlation is not None and abs(self.correlation) > MAX_CORRELATION


def feature_groups(view: str) -> dict[str, str]:
    """Return the features of a view with their groups, as the dbt project declares them (``meta.group``)."""
    manifest = json.loads(manifest_path().read_text(encoding="utf-8"))
    columns = manifest["nodes"][f"model.leadline.{view}"]["columns"]
    return {name: column["meta"]["group"] for name, column in columns.items() if "group" in column["meta"]}


def measure(
    connection: "DuckDBPyConnection", relation: str, key: str, groups: Mapping[str, str]
) -> list[FeatureQuality]:
    """Measure the features of a relation.

    Parameters
    ----------
    connection : DuckDBPyConnection
    relation : str
        A table or view with one row per observation.
    key : str
        The column that, with ``as_of``, identifies an observation.
    groups : mapping of str to str
        The features, with their groups.

    Returns
    -------
    list of FeatureQuality
        In the order of `groups`. The same rows give the same figures, in whatever order they are stored.
    """
    described = connection.execute(f"describe select * from {relation}").fetchall()
    texts = {row[0] for row in described if row[1] == "VARCHAR"}
    numbers = [name for name in groups if name not in texts]
    sample = _sample(connection, relation, key, numbers)
    partners = _partners(sample)
    bounds = {name: _bounds(sample[name]) for name in numbers}

    rows = connection.execute(f"select count(*) from {relation}").fetchall()[0][0]
    aggregates, parameters = [], []
    for name in groups:
        lower, upper = bounds.get(name, (None, None))
        number = f'cast("{name}" as double)' if name in bounds else "cast(null as double)"
        aggregates.append(
            f'count("{name}"), count("{name}") = 0 or (count("{name}") = count(*) and min("{name}") = max("{name}")), '
            f"min({number}), max({number}), count(case when {number} < ? or {number} > ? then 1 end)"
        )
        parameters += [lower, upper]
    figures = connection.execute(f"select {', '.join(aggregates)} from {relation}", parameters).fetchall()[0]

    measured = []
    for position, (name, group) in enumerate(groups.items()):
        present, constant, minimum, maximum, outliers = figures[5 * position : 5 * position + 5]
        partner, correlation = partners.get(name, (None, None))
        lower, upper = bounds.get(name, (None, None))
        measured.append(
            FeatureQuality(
                feature=name,
                feature_group=group,
                rows=rows,
                completeness=present / rows if rows else 1.0,
                constant=constant,
                most_correlated_with=partner,
                correlation=correlation,
                minimum=minimum,
                maximum=maximum,
                lower_bound=lower,
                upper_bound=upper,
                outlier_share=None if lower is None else outliers / present,
            )
        )
    return measured


def rank_correlations(values: "pd.DataFrame") -> "np.ndarray":
    """Correlate every column with every other by rank (Spearman), over the rows in which both have a value.

    Ranks, because counts and money are skewed, so that one huge value makes or hides a linear correlation, and because
    trees see nothing but the order. A column is ranked once, among all its own values, and not anew for each pair:
    that is one product of matrices for all pairs, and with missing values an approximation.

    Parameters
    ----------
    values : DataFrame of shape (n_rows, n_columns)
        Numbers, with NaN where there is no value.

    Returns
    -------
    ndarray of shape (n_columns, n_columns)
        Rounded to six digits. NaN where fewer than `MIN_PAIRS` rows have both values, or where one column is constant
        in them.
    """
    import numpy as np

    ranks = values.rank().to_numpy(dtype="float64")
    present = (~np.isnan(ranks)).astype("float64")
    # centred, so that no digits are lost between large sums
    ranks = np.nan_to_num(ranks - (present.sum(axis=0) + 1) / 2)
    pairs = present.T @ present
    sums = ranks.T @ present
    squares = (ranks**2).T @ present
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = ranks.T @ ranks - sums * sums.T / pairs
        variance = squares - sums**2 / pairs
        correlation = covariance / np.sqrt(variance * variance.T)
    # ranks differ by a half at least: less than a tenth is what rounding leaves of nothing
    defined = (pairs >= MIN_PAIRS) & (variance > 0.1) & (variance.T > 0.1)
    return np.where(defined, correlation, np.nan).clip(-1, 1).round(6)


def _sample(connection: "DuckDBPyConnection", relation: str, key: str, columns: Sequence[str]) -> "pd.DataFrame":
    """Return `SAMPLE_ROWS` rows at most, those whose hashed keys come first: as good as chance, and always the same."""
    listed = ", ".join(f'cast("{name}" as double) as "{name}"' for name in columns)
    return connection.execute(
        f"select {listed} from {relation} order by md5({key} || ' ' || epoch_us(as_of)) limit {SAMPLE_ROWS}"
    ).df()


def _partners(sample: "pd.DataFrame") -> dict[str, tuple[str, float]]:
    """Return the strongest correlation of each column that has one, with the other column; of equal ones the first."""
    import numpy as np

    # small products: the threads of the linear algebra would wait for each other longer than they work
    with threads(1):
        correlations = rank_correlations(sample)
    np.fill_diagonal(correlations, np.nan)
    names = list(sample.columns)
    strongest = np.nan_to_num(np.abs(correlations), nan=-1.0).argmax(axis=1)
    return {
        name: (names[other], float(correlations[position, other]))
        for position, (name, other) in enumerate(zip(names, strongest, strict=True))
        if not np.isnan(correlations[position, other])
    }


def _bounds(values: "pd.Series") -> tuple[float | None, float | None]:
    present = values.dropna()
    if present.empty:
        return None, None
    lower, upper = present.quantile(list(OUTLIER_BOUNDS))
    return float(lower), float(upper)


def feature_quality_asset(view: FeatureView) -> dg.AssetsDefinition:
    """Return the asset that measures the features of a view."""

    @dg.asset(
        key=["feature_quality", view.name],
        deps=[[view.schema, view.name]],
        group_name="feature_quality",
        kinds={"duckdb"},
        owners=["team:data-engineering"],
        description=(
            f"Completeness, range, outliers and strongest correlation of every feature of `{view.name}`. One row per "
            "feature and clock; the rows of a clock are replaced as a whole. Flags are information: no feature is "
            "dropped for one."
        ),
        check_specs=[
            dg.AssetCheckSpec(
                "completeness",
                asset=["feature_quality", view.name],
                description=(
                    f"No feature has a value in fewer than {MIN_COMPLETENESS:.0%} of the rows, or the same in all. "
                    "Counts are 0 and categories `unknown` where there is nothing; what is null after that is missing."
                ),
            ),
            dg.AssetCheckSpec(
                "correlation",
                asset=["feature_quality", view.name],
                description=f"No two features have a rank correlation beyond {MAX_CORRELATION} or -{MAX_CORRELATION}.",
            ),
        ],
        pool=WAREHOUSE_POOL,
    )
    def feature_quality(warehouse: Warehouse) -> Iterator[dg.Output[None] | dg.AssetCheckResult]:
        as_of = warehouse.built_extraction().as_of
        groups = feature_groups(view.name)
        with warehouse.analyze(Excerpt(view.schema, view.name, [view.key, "as_of", *groups])) as analysis:
            measured = measure(analysis, f"{view.schema}.{view.name}", view.key, groups)
        with warehouse.connect() as connection:
            ensure(connection)
            replace_feature_quality(connection, view.name, as_of, measured)
        yield dg.Output(
            None,
            metadata={
                "dagster/row_count": len(measured),
                "observations": measured[0].rows,
                "sample_rows": min(SAMPLE_ROWS, measured[0].rows),
                "features_by_group": dg.MetadataValue.json(
                    {group: list(groups.values()).count(group) for group in sorted(set(groups.values()))}
                ),
                "clock": dg.MetadataValue.timestamp(as_of),
            },
        )
        yield _completeness(measured)
        yield _correlation(measured)

    return feature_quality


def _completeness(measured: Sequence[FeatureQuality]) -> dg.AssetCheckResult:
    flagged = sorted(
        (each for each in measured if each.incomplete or each.constant), key=lambda each: each.completeness
    )
    rows = [
        (each.feature, each.feature_group, f"{each.completeness:.3f}", "yes" if each.constant else "")
        for each in flagged
    ]
    return dg.AssetCheckResult(
        check_name="completeness",
        passed=not flagged,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "least_completeness": min(each.completeness for each in measured),
            "threshold": MIN_COMPLETENESS,
            "features_incomplete": sum(each.incomplete for each in measured),
            "features_constant": sum(each.constant for each in measured),
            "features": len(measured),
            "flagged": _table(("feature", "group", "completeness", "constant"), rows),
        },
    )


def _correlation(measured: Sequence[FeatureQuality]) -> dg.AssetCheckResult:
    amounts = {each.feature: abs(each.correlation or 0.0) for each in measured}
    flagged = sorted((each for each in measured if each.redundant), key=lambda each: -amounts[each.feature])
    rows = [(each.feature, each.most_correlated_with, f"{each.correlation:.3f}") for each in flagged]
    return dg.AssetCheckResult(
        check_name="correlation",
        passed=not flagged,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "strongest_correlation": max(amounts.values()),
            "threshold": MAX_CORRELATION,
            "features_redundant": len(flagged),
            "features": len(measured),
            "flagged": _table(("feature", "most correlated with", "rank correlation"), rows),
        },
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(markdown_table(header, rows) if rows else "none")


_views = {declaration.feature_view.name: declaration.feature_view for declaration in DECLARATIONS.values()}

feature_quality = [feature_quality_asset(view) for view in _views.values()]
