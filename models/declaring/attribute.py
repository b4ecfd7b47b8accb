"""Attributes: columns of the source beside those of the contract that models learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

AttributeKind = Literal["category", "number", "flag", "date", "choices"]
"""A word of a few, a number, a yes or no, a date, or several options of a list."""

Known = Literal["creation", "extraction", "history"]
"""From when on the first value that an extraction shows counts as known: from the creation of its row, or from the
clock of the extraction; ``history`` if the source itself tells when each value was entered."""

Form = Literal["text", "number", "flag", "days", "count", "has"]
"""How a feature follows from the stored text: the text, a number, 0 or 1, the days from a date to ``as_of``, the number
of options, or 0 or 1 for one option."""

NAME_LENGTH = 40

NAME = rf"[a-z][a-z0-9_]{{0,{NAME_LENGTH - 1}}}"
"""The names of attributes, as a regular expression: names of columns may have 63 signs on PostgreSQL."""

COLUMN_LENGTH = 63
"""PostgreSQL cuts longer names."""

STORED = "attributes."
"""The beginning of ``column_name`` in ``raw.changes`` for an attribute; its name follows."""

SEPARATOR = "; "
"""What stands between two options in the stored text."""


@dataclass(frozen=True, kw_only=True)
class AttributeFeature:
    """A feature that follows from an attribute.

    Attributes
    ----------
    column : str
        Its column in the feature view.
    data_type : str
    entity : str
        The source table of the attribute.
    stored : str
        ``column_name`` of its values in ``raw.changes``.
    form : {"text", "number", "flag", "days", "count", "has"}
    option : str
        The option, for ``has``.
    description, unit, null_means : str
        For people, as beside a described feature.
    """

    column: str
    data_type: str
    entity: str
    stored: str
    form: Form
    option: str = ""
    description: str
    unit: str
    null_means: str

    @property
    def variable(self) -> dict[str, str]:
        """What the dbt project has to know of it."""
        known = ("column", "data_type", "entity", "stored", "form", "option")
        return {name: getattr(self, name) for name in known}


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """A column of the source that is no column of the contract, and is learnt from.

    Attributes
    ----------
    entity : str
        The source table that it is a column of.
    name : str
        A lower-case identifier of at most 40 characters.
    label : str
        The name of the column in the source.
    kind : {"category", "number", "flag", "date", "choices"}
    known : {"creation", "extraction", "history"}
    why : str
        A sentence: why it counts as known from then on.
    options : tuple of str
        The options of a list that get a feature of their own; each with its identifier.
    prefix : str
        The beginning of the names of its features.
    of : str
        Whose value its features have, in words.
    reading : mapping of str to Any
        How the texts of the source are read, as it was found at first.
    is_gone : bool
        Whether the source has it no more, which a person has accepted. Its values stay, and no feature follows from
        them; if it comes back, it has the same kind.
    withdrawn : bool
        Whether its first values counted as known from the creation until later extractions showed that they do not.
    """

    entity: str
    name: str
    label: str
    kind: AttributeKind
    known: Known
    why: str = ""
    options: tuple[tuple[str, str], ...] = ()
    prefix: str = "attribute"
    of: str = "the row"
    reading: Mapping[str, Any] = field(default_factory=dict, hash=False)
    is_gone: bool = False
    withdrawn: bool = False

    @property
    def stored(self) -> str:
        """``column_name`` of its values in ``raw.changes``."""
        return STORED + self.name

    @property
    def features(self) -> tuple[AttributeFeature, ...]:
        """Its features, in the order of their columns."""
        said = f"{self.label!r} of {self.of}, as known at as_of"

        def feature(
            form: Form, data_type: str, unit: str, description: str, end: str = "", option: str = ""
        ) -> AttributeFeature:
            return AttributeFeature(
                column=f"{self.prefix}_{self.name}{end}",
                data_type=data_type,
                entity=self.entity,
                stored=self.stored,
                form=form,
                option=option,
                description=description,
                unit=unit,
                null_means="the value was not known at as_of",
            )

        match self.kind:
            case "category":
                return (feature("text", "text", "category", f"{said}."),)
            case "number":
                return (feature("number", "double precision", "number", f"{said}."),)
            case "flag":
                return (feature("flag", "bigint", "flag", f"1 if {said} is yes, 0 if it is no."),)
            case "date":
                days = f"Days from {said} to as_of; below 0 if the date lies ahead."
                return (feature("days", "double precision", "days", days, "_days"),)
            case "choices":
                return (
                    feature("count", "bigint", "count", f"Number of options in {said}.", "_count"),
                    *(
                        feature(
                            "has",
                            "bigint",
                            "flag",
                            f"1 if {option!r} is among the options in {said}, else 0.",
                            f"_has_{identifier}",
                            option,
                        )
                        for option, identifier in self.options
                    ),
                )

    @property
    def assumed(self) -> list[str]:
        """The names of its features, if its first values count as known from the creation."""
        return [each.column for each in self.features] if self.known == "creation" else []

    def as_json(self) -> dict[str, Any]:
        """Return what `of_json` takes."""
        return asdict(self)

    @staticmethod
    def of_json(content: Mapping[str, Any]) -> Attribute:
        """Return the attribute that `as_json` described."""
        options = tuple((str(option), str(identifier)) for option, identifier in content["options"])
        return Attribute(**{**content, "options": options})
