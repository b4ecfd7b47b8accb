"""`make map`: look at a source, ask what its data do not tell, and write a mapping for it."""

import sys

from models.artifacts import make_folder
from orchestration.commands.summary import command
from orchestration.terminal import for_terminal
from store.home import make_home, refuse_other_warehouse
from store.places import SettingError
from store.settings import Settings
from store.source.suggesting.suggestion import Draft, NoMappingError, Question
from store.source.suggesting.writing import MOST_OPTIONS, flow


def suggest_mapping(current: Settings, *, ask: bool) -> int:
    """Write a mapping for the source, and say what is in it.

    Parameters
    ----------
    current : Settings
    ask : bool
        Whether a person is there to answer questions.

    Raises
    ------
    SettingError
        If there is no source, or it has a mapping.
    SourceContractError
        If the source cannot be read, or has no honest mapping.
    """
    from models.declared.registry import DECLARATIONS
    from store.source.suggesting.suggest import mapping_place, measured, refuse_mapped, suggest, text_of

    if current.source is None:
        raise SettingError(
            "LEADLINE_SOURCE: expected a folder or a postgresql:// address (make map SOURCE=…), found none. The "
            "simulated CRM needs no mapping."
        )
    refuse_mapped(current.source, current.home)
    place = mapping_place(current.source, current.home)
    sys.stderr.write(f"Leadline: {current.shown_source} → {place}\n")
    found, shape = measured(current.source, DECLARATIONS)
    if shape is None:
        tables = [f"{name} ({table.counted})" for name, table in found.tables.items()]
        _say(f"read       {', '.join(tables) or 'no table'}")
    else:
        _say(f"fits       the shipped mapping {shape.name}: {shape.why}")
    answers: dict[str, str] = {}
    suggestion = suggest(found, answers, shape)
    while ask and (open_questions := [each for each in suggestion.questions.values() if each.key not in answers]):
        answers[open_questions[0].key] = _answer(open_questions[0])
        suggestion = suggest(found, answers, shape)
    if essential := [each for each in suggestion.questions.values() if each.is_essential and each.key not in answers]:
        raise NoMappingError(
            "\n".join(f"Expected an answer, found none: {each.text}" for each in essential)
            + "\nNothing was written. Run `make map` at a terminal, which asks, or write a mapping.yml by hand."
        )
    text = text_of(suggestion, current.source, answers, DECLARATIONS, for_home=place.parent == current.home)
    if place.parent == current.home:
        refuse_other_warehouse(current)
        make_home(current)
        make_folder(current.home)
    try:
        with place.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SettingError(f"{place}: expected a file that can be written, found {error.strerror}.") from error
    _sum_up(suggestion, answers)
    _say(f"written    {place}")
    _say(f"next       look at the lines that are likely or unsure, then: {command(current, 'check')}")
    return 0


def _answer(question: Question) -> str:
    answers, is_listed = list(question.options), len(question.options) <= MOST_OPTIONS
    while True:
        _say(f"\n{question.text}")
        if is_listed:
            for number, answer in enumerate(answers, start=1):
                _say(f"  {number}  {question.options[answer]}{'  (default)' if answer == question.default else ''}")
        sys.stderr.write(f"[{answers.index(question.default) + 1 if is_listed else question.default}] ")
        sys.stderr.flush()
        try:
            given = input().strip()
        except EOFError:
            given = ""
        if not given:
            return question.default
        if is_listed and given.isdecimal() and 1 <= int(given) <= len(answers):
            return answers[int(given) - 1]
        if named := [each for each in answers if each.casefold() == given.casefold()]:
            return named[0]
        _say(f"Expected {'the number of an answer' if is_listed else 'a name that is known'}, found {given!r}.")


def _sum_up(suggestion: Draft, answers: dict[str, str]) -> None:
    lines = suggestion.lines
    for line in lines:
        match line.place:
            case ("tables" | "names", name, "table") | ("tables", name, "union", _, "table"):
                _say(f"{name:<10} {line.value}: {line.why}")
            case ("based_on",) if line.why:
                _say(f"based on   {line.value}: {line.why}")
    counts = [f"{sum(each.confidence == word for each in lines)} {word}" for word in ("sure", "likely", "unsure")]
    _say(f"lines      {', '.join(counts)}")
    for line in lines:
        if line.confidence == "unsure":
            _say(f"unsure     {'.'.join(line.place)}: {flow(line.value)} ({line.why})")
    for question in suggestion.questions.values():
        if question.key not in answers:
            _say(f"not asked  {question.text} Taken: {question.options[question.default]}")
    for note in suggestion.notes:
        _say(f"note       {note}")
    if suggestion.contact:
        _say(f"contact    {', '.join(suggestion.contact)}: contact data, which stays in the CRM")
    for name, why in suggestion.left.items():
        if name in suggestion.tables:
            _say(f"left       the table {name} ({suggestion.tables[name]:,} rows): {why}")
    if columns := [name for name in suggestion.left if name not in suggestion.tables]:
        _say(f"left       columns: {len(columns)}; the file says why")


def _say(text: str) -> None:
    sys.stderr.write(f"{for_terminal(text)}\n")
