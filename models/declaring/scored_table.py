"""A scored table: which of its columns belong to which model, and what the summary of a run says about it."""

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
    """A mart with one row per open entity, and the mart that keeps its rows.

    Parameters
    ----------
    entity : Entity
        Its key identifies a row.
    name : str
    history : str
        The mart to which every build adds the rows of its clock; rows that it has never change.
    models : mapping of str to ScoreColumns
        The columns of each model that no rule can replace, so that readers would miss a lost score.
    further_versions : mapping of str to str
        Columns with the versions of other models behind a row, by model.
    total : str
        A column whose sum the summary of a run shows; empty for none.
    total_words : str
        The name of that sum, for people.
    counted : mapping of str to str
        Columns whose values the summary counts, by their headings, the most frequent value first.
    counted_in_order : mapping of str to str
        The same, in the order of the values.
    previewed : tuple of str
        Columns that the UI shows of the first rows, beside the key. The rows with the highest `total` come first.
    """

    entity: Entity
    name: str
    history: str
    models: Mapping[str, ScoreColumns]
    further_versions: Mapping[str, str] = field(default_factory=dict)
    total: str = ""
    total_words: str = ""
    counted: Mapping[str, str] = field(default_factory=dict)
    counted_in_order: Mapping[str, str] = field(default_factory=dict)
    previewed: tuple[str, ...] = ()

    @property
    def all_versions(self) -> dict[str, str]:
        """The columns with the versions behind a row, by model."""
        return {**{model: each.version for model, each in self.models.items()}, **self.further_versions}

    @property
    def versions(self) -> tuple[str, ...]:
        """The columns with the versions of `models`."""
        return tuple(each.version for each in self.models.values())
