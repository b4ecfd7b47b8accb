"""Measure the quality of each feature of a view: completeness, constancy, redundancy, outliers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from models.declaring.attribute import Attribute
from models.learning.fitting import threads
from store.features.dbt_project import described_columns
from store.ledger.measurements import FeatureQuality

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from duckdb import DuckDBPyConnection

MIN_COMPLETENESS = 0.95

MAX_CORRELATION = 0.95

SAMPLE_ROWS = 10_000
"""Rows of the sample for correlations and outlier bounds."""

MIN_PAIRS = 50
"""Rows in which both features must have a value; with fewer, the correlation is undefined."""

OUTLIER_BOUNDS = (0.001, 0.999)
"""Quantiles beyond which a value counts as an outlier."""


def feature_groups(view: str, attributes: Iterable[Attribute] = ()) -> dict[str, str]:
    """Return the features of a view with their groups, as the dbt project declares them (``meta.group``)."""
    columns = described_columns(view, attributes)
    return {name: column["meta"]["group"] for name, column in columns.items() if "group" in column["meta"]}


def measure_features(
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
        completeness = present / rows if rows else 1.0
        measured.append(
            FeatureQuality(
                feature=name,
                feature_group=group,
                rows=rows,
                completeness=completeness,
                incomplete=completeness < MIN_COMPLETENESS,
                constant=constant,
                most_correlated_with=partner,
                correlation=correlation,
                redundant=correlation is not None and abs(correlation) > MAX_CORRELATION,
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

    Ranks are used because counts and money are skewed, so that one huge value makes or hides a linear correlation, and
    because trees use only the order. A column is ranked once, among all its own values, and not again for each pair:
    one product of matrices then serves all pairs. With missing values this is an approximation.

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
    # centred, so that differences of large sums lose no digits
    ranks = np.nan_to_num(ranks - (present.sum(axis=0) + 1) / 2)
    pairs = present.T @ present
    sums = ranks.T @ present
    squares = (ranks**2).T @ present
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = ranks.T @ ranks - sums * sums.T / pairs
        variance = squares - sums**2 / pairs
        correlation = covariance / np.sqrt(variance * variance.T)
    # ranks differ by at least a half: a variance below a tenth is a rounding error of 0
    defined = (pairs >= MIN_PAIRS) & (variance > 0.1) & (variance.T > 0.1)
    return np.where(defined, correlation, np.nan).clip(-1, 1).round(6)


def _sample(connection: "DuckDBPyConnection", relation: str, key: str, columns: Sequence[str]) -> "pd.DataFrame":
    """Return at most `SAMPLE_ROWS` rows, the first by the hash of their keys: random, and always the same."""
    listed = ", ".join(f'cast("{name}" as double) as "{name}"' for name in columns)
    return connection.execute(
        f"select {listed} from {relation} order by md5({key} || ' ' || epoch_us(as_of)) limit {SAMPLE_ROWS}"
    ).df()


def _partners(sample: "pd.DataFrame") -> dict[str, tuple[str, float]]:
    """Return for each column its strongest correlation and the other column, the first of equal ones."""
    import numpy as np

    # the matrices are small: threads of the linear algebra would wait longer than they work
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
