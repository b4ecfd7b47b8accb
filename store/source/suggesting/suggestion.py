"""A suggestion: the lines of a mapping with their reasons, what was left, and what is still to be asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from store.source.contract import SourceContractError

Confidence = Literal["sure", "likely", "unsure"]

Place = tuple[str, ...]
"""The keys that lead to a line of a mapping."""

Answers = Mapping[str, str]
"""The answers that a person has given, by the key of the question."""


class NoMappingError(SourceContractError):
    """No honest mapping of the source can be suggested; the message says what was expected and what was found."""


@dataclass(frozen=True)
class Line:
    """A line of a mapping.

    Attributes
    ----------
    place : tuple of str
    value : object
        Text, a number, a list or a map; None for a remark on what lies under the place.
    why : str
    confidence : {"sure", "likely", "unsure"} or None
        None for a line that follows from the others.
    """

    place: Place
    value: Any
    why: str
    confidence: Confidence | None = None


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question whose answer the data do not give.

    Attributes
    ----------
    key : str
    text : str
    options : mapping of str to str
        By answer: its meaning.
    default : str
    is_essential : bool
        Whether there is no honest mapping without an answer.
    """

    key: str
    text: str
    options: Mapping[str, str]
    default: str
    is_essential: bool = False


@dataclass
class Draft:
    """A mapping that is suggested, also while it is made.

    Attributes
    ----------
    answers : mapping of str to str
    lines : list of Line
    left : dict of str to str
        By column (``table.column``) and table that was left: why.
    tables : dict of str to int
        The tables among what was left, with their rows.
    read : set of (str, str)
        The tables and columns that the lines read.
    contact : list of str
        Columns with contact data, as ``table.column``.
    notes : list of str
        Sentences on the mapping as a whole.
    questions : dict of str to Question
        By key: all questions, the answered ones too.
    """

    answers: Answers
    lines: list[Line] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    read: set[tuple[str, str]] = field(default_factory=set)
    contact: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    questions: dict[str, Question] = field(default_factory=dict)

    def line(self, place: Place, value: Any, why: str, confidence: Confidence | None = None) -> None:
        """Add a line."""
        self.lines.append(Line(place, value, why, confidence))

    def ask(self, question: Question) -> str:
        """Note a question; return its answer, or its default as long as nobody has answered."""
        self.questions[question.key] = question
        answer = self.answers.get(question.key, question.default)
        return answer if answer in question.options else question.default

    def is_answered(self, key: str) -> bool:
        """Say whether a person has answered a question."""
        return key in self.answers
