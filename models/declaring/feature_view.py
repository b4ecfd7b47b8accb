"""A feature view as its dbt model defines it: one row per observation, and which columns are features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.declaring.attribute import Attribute
from models.declaring.columns import AS_OF
from models.declaring.entity import DeclarationError, Entity

DESCRIPTIONS = Path(__file__).parents[2] / "dbt_project" / "models" / "features"

FEATURE_META = ("unit", "window", "null_means")
"""Keys that ``meta`` of a feature must have beside ``group``."""


@dataclass(frozen=True, kw_only=True)
class FeatureView:
    """A dbt model with one row per observation, from which models learn and on which they score.

    Parameters
    ----------
    name, schema : str
        The table.
    entity : Entity
        The entity that a row is about.
    not_features : tuple of str
        Columns of the view that describe the observation and are not learnt from.
    dropped : tuple of str
        Features that nearly repeat another one, or tell little but the date. They stay in the view, for people, and
        models do not learn from them.
    drifting : tuple of str
        Features that move with the season or with the age of the records: their drift is shown, and has no bound.
    segments : tuple of str
        Columns whose values divide held-out rows into segments; a column that is missing is skipped.
    further_segments : tuple of str
        Texts that become segments as well where training rows have them filled, with few frequent values
        (`models.training.segments`).
    segment_notes : tuple of str
        Sentences that the card adds below the segments.
    bands : mapping of str to tuple of float
        Columns that divide a census into bands: for a number the lower bounds of all bands but the lowest, for a text
        none, as each value is a band.
    silence : str
        The column of `bands` with the days since the last fact of the entity. A version is promoted only if its
        expected totals hold in each of these bands.
    ranges : tuple of str
        Features whose range in training is kept: a score is marked where a value lies outside.
    attributes : tuple of str
        The source tables whose attributes (`models.declaring.attribute`) have features in the view. Its dbt model hands
        the same names to ``attribute_columns``.
    by_day : tuple of str
        The dbt models that compute the rows of a range of days anew, in this order; empty if none can.
    """

    name: str
    entity: Entity
    not_features: tuple[str, ...]
    schema: str = "features"
    dropped: tuple[str, ...] = ()
    drifting: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    further_segments: tuple[str, ...] = ()
    segment_notes: tuple[str, ...] = ()
    bands: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    silence: str = ""
    ranges: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    by_day: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a view whose own key, clock or creation time would be learnt from."""
        described = (self.key, AS_OF, self.created, *self.entity.columns)
        missing = [column for column in described if column not in self.not_features]
        if missing:
            raise DeclarationError(
                f"feature view {self.name!r}: not_features must hold the key, {AS_OF!r}, the creation time and the "
                f"columns of the entity; {missing} would become features"
            )

    def of_attributes(self, attributes: Iterable[Attribute]) -> list[Attribute]:
        """Return the attributes that have features in this view."""
        return [each for each in attributes if each.entity in self.attributes]

    @property
    def key(self) -> str:
        """The column that identifies the entity."""
        return self.entity.key

    @property
    def created(self) -> str:
        """The column with the time by which entities are split."""
        return self.entity.split_by


def described_view(name: str, entity: Entity, **rest: Any) -> FeatureView:
    """Return a feature view as the YAML file beside its dbt model describes it.

    A column is a feature if its ``meta`` has a ``group``; it then needs a ``unit``, a ``window`` and ``null_means`` as
    well. ``meta.dropped`` names the feature that says the same, ``meta.drifts`` says why it drifts.

    Parameters
    ----------
    name : str
        The dbt model, described in ``<name>.yml`` in ``dbt_project/models/features`` or a folder of it.
    entity : Entity
    **rest : object
        Further arguments of `FeatureView`.

    Raises
    ------
    DeclarationError
        If there is no such file, or it does not describe the model.
    """
    import yaml

    found = sorted(DESCRIPTIONS.rglob(f"{name}.yml"))
    if len(found) != 1:
        raise DeclarationError(
            f"feature view {name!r}: expected one file {name}.yml in {DESCRIPTIONS} or a folder of it, found "
            f"{len(found)}. Describe the columns of the dbt model there."
        )
    # many times faster, if libyaml is installed
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(found[0].read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 (a safe loader)
    columns = next((each["columns"] for each in content.get("models", []) if each["name"] == name), None)
    if columns is None:
        raise DeclarationError(f"{found[0]}: expected a description of the dbt model {name!r} with its columns")
    meta = {each["name"]: each.get("meta", {}) for each in columns}
    lacking = {
        column: [key for key in FEATURE_META if key not in tags] for column, tags in meta.items() if "group" in tags
    }
    if short := [f"{column} ({', '.join(keys)})" for column, keys in lacking.items() if keys]:
        raise DeclarationError(
            f"{found[0]}: expected meta.{', meta.'.join(FEATURE_META)} of each column that has meta.group, found "
            f"columns without: {', '.join(short)}. Describe them."
        )
    described = [column for column, tags in meta.items() if "group" not in tags]
    return FeatureView(
        name=name,
        entity=entity,
        not_features=(*described, *(column for column in entity.columns if column not in described)),
        dropped=tuple(column for column, tags in meta.items() if "dropped" in tags),
        drifting=tuple(column for column, tags in meta.items() if "drifts" in tags),
        **rest,
    )
