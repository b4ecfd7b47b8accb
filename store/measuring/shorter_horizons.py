"""Try shorter horizons after a refusal: labels over each, by the SQL of the last build, in a scratch place."""

from collections.abc import Callable
from functools import partial

from models.decisions.horizons import HorizonTrial, ShorterHorizons
from models.declaring.declaration import ModelDeclaration
from models.learning.frames import ObservationError
from models.training.trial import try_horizon
from models.untrainable import UntrainableError
from store.features.compiled import Build, NotCompiledError
from store.features.training_rows import census_in, training_rows
from store.settings import horizon_setting
from store.warehouse.connection import GROUPS, Connection, in_groups
from store.warehouse.warehouse import Extraction

CANDIDATES = (60, 30, 14, 7)
"""In days, the longest first; a prediction over less than a week leaves no time to act on it."""

ENOUGH = 2
"""The trials stop after so many horizons that pass."""

OBSERVATIONS_READ = 40_000
"""About how many observations a trial reads; if there are more, those of some entities, chosen by a hash."""


def try_shorter(
    connection: Connection, build: Callable[[], Build], extraction: Extraction, declaration: ModelDeclaration
) -> ShorterHorizons | None:
    """Try the horizons in `CANDIDATES` below that of the declaration, the longest first; None where there is none.

    If the build or its rows do not allow a trial, the result says why and no error is raised: the refusal must be
    recorded in any case.

    Parameters
    ----------
    connection : Connection
        To the warehouse; nothing is written there.
    build : callable
        Returns the last build, of this extraction.
    extraction : Extraction
    declaration : ModelDeclaration
        With the horizon that was refused.
    """
    tried = partial(ShorterHorizons, setting=horizon_setting(declaration.name), metric=declaration.primary_metric)
    try:
        trials = _trials(connection, build(), extraction, declaration)
    except (NotCompiledError, ObservationError, UntrainableError) as error:
        return tried(trials=(), failure=str(error))
    return tried(trials=tuple(trials)) if trials else None


def _trials(
    connection: Connection, build: Build, extraction: Extraction, declaration: ModelDeclaration
) -> list[HorizonTrial]:
    import pandas as pd

    view = declaration.feature_view
    label = ("labels", declaration.label)
    trials: list[HorizonTrial] = []
    rows = connection.execute(f"select count(*) from {declaration.scoped_view} as features").fetchall()[0][0]
    chosen = in_groups(view.key, round(GROUPS * OBSERVATIONS_READ / max(1, rows)))
    with connection.scratch("horizons", build.relations) as space:
        for days in (days for days in CANDIDATES if days < declaration.horizon_days):
            over, shorter = build.over(declaration.label, days), declaration.with_horizon(days)
            with space.place() as place:
                place.run(over.needed_for([label], build.relations - {label}))
                frame = training_rows(connection, declaration, place.relation(label), f"where {chosen}")
            of_clocks = partial(census_in, connection, space, over, shorter)
            trials.append(try_horizon(shorter, frame, pd.Timestamp(extraction.as_of), of_clocks))
            if sum(each.passes for each in trials) == ENOUGH:
                break
    return trials
