"""A scored table: the columns of each model, and the columns that the summary of a run and the UI show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.declaring.entity import Entity


@dataclass(frozen=True, kw_only=True)
class ScoreColumns:
    """The columns of one model in a scored table.

    Parameters
    ----------
    score : str
        The prediction; null where the model has not scored the entity.
    version : str
        The version that made the prediction.
    reason : str
        Why the model has not scored the entity.
    """

    score: str
    version: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ScoredTable:
    """A mart with one row per open entity, and another mart with its history.

    Parameters
    ----------
    entity : Entity
        The key of the entity identifies a row.
    name : str
    history : str
        The mart to which every build adds the rows of its clock. Its existing rows never change.
    models : mapping of str to ScoreColumns
        The columns of each model without a rule: nothing takes the place of its score.
    further_versions : mapping of str to str
        The column with the version of each other model that a row depends on, by model.
    out_of_scope : str
        The reason of rows that no model is about; empty if the models are about every row.
    total : str
        A column whose sum the summary of a run shows; empty for none.
    total_words : str
        The name of that sum, for people.
    counted : mapping of str to str
        Columns whose values the summary counts, by their headings, the most frequent value first.
    counted_in_order : mapping of str to str
        The same, in the order of the values.
    previewed : tuple of str
        Columns of the preview in the UI, after the key.
    first : str
        The column whose highest values come first there; by default `total`.
    """

    entity: Entity
    name: str
    history: str
    models: Mapping[str, ScoreColumns]
    further_versions: Mapping[str, str] = field(default_factory=dict)
    out_of_scope: str = ""
    total: str = ""
    total_words: str = ""
    counted: Mapping[str, str] = field(default_factory=dict)
    counted_in_order: Mapping[str, str] = field(default_factory=dict)
    previewed: tuple[str, ...] = ()
    first: str = ""

    @property
    def highest_first(self) -> str:
        """The column whose highest values come first in the preview; empty if there is none."""
        return self.first or self.total

    @property
    def all_versions(self) -> dict[str, str]:
        """The columns with the versions behind a row, by model."""
        return {**{model: each.version for model, each in self.models.items()}, **self.further_versions}

    @property
    def versions(self) -> tuple[str, ...]:
        """The columns with the versions of `models`."""
        return tuple(each.version for each in self.models.values())
