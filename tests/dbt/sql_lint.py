"""What SQL may not say because engines define it differently, found in the text that dbt compiled for an engine.

Types decide much of it: a quotient of integers, an order of texts, a comparison of a number with a text. They are
inferred from the columns of schema ``raw`` on. Each rule has its reason, and an expression whose type stays unknown
where a rule needs it is a finding, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.tokens import TokenType

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, dict[str, dict[str, str]]]
"""The types of columns, by schema, relation and column."""

REASONS = {
    "syntax": "both dialects must understand it",
    "week": "weeks begin on Sunday or on Monday, and their days count from 0 or 1: use weekday() of macros/time.sql",
    "time_zone": (
        "days, hours and texts of a time are those of the session's time zone: count microseconds since 1970, with "
        "macros/time.sql"
    ),
    "interval": (
        "a month or a day is not as long on every engine where clocks change, and frames over intervals are not "
        "portable: count microseconds since 1970, with macros/time.sql"
    ),
    "frame": "frames by value (range between … preceding) are not portable: use rows, or a join on microseconds",
    "implicit_cast": "PostgreSQL refuses, or casts one side, and DuckDB casts the other: cast in so many words",
    "division": (
        "the quotient of integers is an integer on PostgreSQL and a double on DuckDB, and that of decimals has other "
        "digits: cast one operand to double precision, or subtract the remainder first, (x - mod(x, n)) / n"
    ),
    "remainder": (
        "the remainder of a number below 0 is below 0 in SQL and not elsewhere, so that what lies before 0 falls into "
        "the wrong day: take that of what cannot be negative"
    ),
    "rounding": (
        "halves of doubles are rounded to even by one engine and up by the other, also by a cast: round decimals, or "
        "take the floor() of a double"
    ),
    "exponent": "1e9 is a double on DuckDB and a decimal on PostgreSQL: write it out, or cast it to double precision",
    "text_form": "1.0 and true are written in another way by each engine: compare and join on the value",
    "double_sum": "a sum of doubles differs with the order of the rows, which threads decide: sum integers or decimals",
    "text_order": "the order of text is that of the server's language on PostgreSQL: use byte_order()",
    "null_order": "in a descending order nulls come first on PostgreSQL and last on DuckDB: say `nulls last`",
    "unordered": "which rows come first is chance: say `order by`",
    "pattern": "engines have other regular expressions, and other rules for upper and lower case",
    "function": (
        "not among the functions that do the same on both engines: compare them and add it to SAME_ON_BOTH, or write "
        "a macro that is dispatched by engine"
    ),
    "unknown_type": "the type cannot be told, so the other rules cannot be checked: cast it",
}

SAME_ON_BOTH = frozenset(
    (
        "abs", "and", "array_agg", "avg", "case", "cast", "ceil", "coalesce", "count", "exists", "exp", "floor",
        "greatest", "group_concat", "lag", "lead", "least", "length", "max", "min", "mod", "not", "nullif", "or",
        "percentile_disc", "replace", "round", "row_number", "sqrt", "str_position", "substring", "sum", "trunc",
    )
)  # fmt: skip
"""Functions by sqlglot's names; some have rules of their own, which say when they are not the same."""

WEEKS = frozenset(
    (
        "day_of_week", "day_of_week_iso", "dayofweek", "dow", "isodow", "isoweek", "isoyear", "week", "week_of_year",
        "weekday", "weekofyear", "year_of_week", "year_of_week_iso", "yearweek",
    )
)  # fmt: skip
TIMES = (exp.Extract, exp.DateTrunc, exp.TimestampTrunc, exp.DateDiff, exp.TimestampDiff, exp.Year, exp.Month, exp.Day)
PATTERNS = (exp.ILike, exp.SimilarTo, exp.RegexpLike, exp.RegexpILike, exp.RegexpReplace, exp.RegexpExtract)
COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ)
UNORDERED = (exp.GroupConcat, exp.ArrayAgg)
RANKED = (exp.RowNumber, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue)
DISPATCHED = "dispatched"
"""Marks what a dispatched macro has become on an engine, which is right there by definition."""
BYTE_ORDER = "byte_order"
_DUCKDB_MACROS = {"epoch_us": "bigint", "make_timestamptz": "timestamptz"}

Found = tuple[str, exp.Expression]


@dataclass(frozen=True)
class Finding:
    """Something that engines define differently.

    Attributes
    ----------
    rule : str
        One of `REASONS`.
    line : int
        In the compiled text.
    sql : str
        What was found.
    """

    rule: str
    line: int
    sql: str

    def __str__(self) -> str:
        """Return the line, what stands there, and why it may not."""
        return f"line {self.line}: {self.rule}: {self.sql}: {REASONS[self.rule]}"


@dataclass(frozen=True)
class Checked:
    """What was found in a query, and the types of its columns."""

    findings: tuple[Finding, ...]
    columns: dict[str, str]


def relations_of(sql: str, dialect: str) -> set[tuple[str, str]]:
    """Return the relations that a query reads, as schema and name."""
    return {(table.db, table.name) for table in sqlglot.parse_one(sql, dialect=dialect).find_all(exp.Table) if table.db}


def check(sql: str, dialect: str, schema: Schema) -> Checked:
    """Check a compiled query.

    Parameters
    ----------
    sql : str
    dialect : str
        ``duckdb`` or ``postgres``.
    schema : Schema
        The relations that the query reads, those of one database.
    """
    try:
        query = _typed(sql, dialect, schema)
    except SqlglotError as error:
        return Checked((Finding("syntax", 1, " ".join(str(error).split())),), {})
    found = [*_descending(sql, dialect)]
    for node in query.walk():
        if not node.meta.get(DISPATCHED):
            for rule, where in _broken(node, dialect):
                found.append(Finding(rule, _line(where), _excerpt(where, dialect)))
    # a `*` repeats what stands below it, and a name that is used again repeats its expression
    findings = tuple(sorted(set(found), key=lambda each: (each.line, each.rule, each.sql)))
    return Checked(findings, {each.alias_or_name: each.type.sql(dialect) for each in query.selects if each.type})


def _typed(sql: str, dialect: str, schema: Schema) -> exp.Expression:
    query = sqlglot.parse_one(sql, dialect=dialect)
    for table in query.find_all(exp.Table):
        table.set("catalog", None)
    query = query.transform(_without_dispatched, dialect)
    return annotate_types(
        qualify(query, dialect=dialect, schema=schema, quote_identifiers=False), schema=schema, dialect=dialect
    )


def _without_dispatched(node: exp.Expression, dialect: str) -> exp.Expression:
    """Put a marked cast, which has a type, in place of what epoch_us(), timestamp_from_us() or byte_order() became.

    A column that epoch_us() reads as a time is one that told_us() reads: its texts say their zone.
    """
    match dialect, node:
        case "duckdb", exp.Anonymous(this=str(name), expressions=[moment]) if name.lower() in _DUCKDB_MACROS:
            operand, kind, macro = moment, _DUCKDB_MACROS[name.lower()], "time"
        case "postgres", exp.Cast(this=exp.Mul(this=exp.Extract() as part, expression=exp.Literal(this="1000000"))) if (
            part.name.lower() == "epoch" and node.is_type("bigint")
        ):
            operand, kind, macro = part.expression, "bigint", "time"
        case "postgres", exp.Add(
            this=exp.Cast(this=exp.Literal(this="epoch")),
            expression=exp.Mul(this=number, expression=exp.Interval(this=exp.Literal(this="1")) as interval),
        ) if interval.text("unit").lower() == "microsecond":
            operand, kind, macro = number, "timestamptz", "time"
        case "postgres", exp.Collate(this=text, expression=exp.Expression(name="C")):
            operand, kind, macro = text, "text", BYTE_ORDER
        case _, exp.Literal(is_string=False, is_int=False) if "e" not in node.name.lower():
            # a decimal on both engines, and to sqlglot a double
            return _marked(node.copy(), "decimal", "number")
        case _:
            return node
    if macro == "time" and isinstance(operand, exp.Cast) and isinstance(operand.this, exp.Column):
        operand = operand.this
    return _marked(operand.copy().transform(_without_dispatched, dialect), kind, macro)


def _marked(operand: exp.Expression, kind: str, macro: str) -> exp.Expression:
    cast = exp.cast(operand, kind, copy=False)
    cast.meta[DISPATCHED] = macro
    return cast


def _broken(node: exp.Expression, dialect: str) -> Iterator[Found]:
    yield from _functions(node)
    yield from _times(node)
    yield from _numbers(node)
    yield from _orders(node, dialect)
    for operands in _compared(node):
        families = [_family(each) for each in operands]
        if "unknown" in families:
            yield "unknown_type", operands[families.index("unknown")]
        elif len(set(families) - {"null"}) > 1:
            yield "implicit_cast", node


def _functions(node: exp.Expression) -> Iterator[Found]:
    if isinstance(node, PATTERNS):
        yield "pattern", node
    elif isinstance(node, UNORDERED) and not node.find(exp.Order):
        yield "unordered", node
    elif isinstance(node, exp.Func) and _name(node) in WEEKS:
        yield "week", node
    elif isinstance(node, exp.If) and isinstance(node.parent, exp.Case):
        return
    elif isinstance(node, exp.Func) and not isinstance(node, TIMES) and _name(node) not in SAME_ON_BOTH:
        yield "function", node


def _times(node: exp.Expression) -> Iterator[Found]:
    if isinstance(node, TIMES):
        unit = node.name if isinstance(node, exp.Extract) else node.text("unit") or node.name
        yield ("week" if unit.lower().split("(")[0] in WEEKS else "time_zone"), node
    elif isinstance(node, exp.AtTimeZone) or (isinstance(node, exp.Cast) and _asks_the_session(node)):
        yield "time_zone", node
    elif isinstance(node, exp.Interval):
        yield "interval", node
    elif isinstance(node, exp.WindowSpec) and node.text("kind").upper() != "ROWS" and _has_offset(node):
        yield "frame", node


def _asks_the_session(cast: exp.Cast) -> bool:
    """Say whether the cast is between a time with a zone and what has none."""
    operand = cast.this.unnest()
    if _family(operand) == "time":
        return _FAMILIES.get(cast.to.this) != "time"
    says_its_zone = isinstance(operand, exp.Literal) and _ZONE.search(operand.name)
    return _FAMILIES.get(cast.to.this) == "time" and not says_its_zone and not isinstance(operand, exp.Null)


def _has_offset(frame: exp.WindowSpec) -> bool:
    return any(isinstance(frame.args.get(side), exp.Expression) for side in ("start", "end"))


def _numbers(node: exp.Expression) -> Iterator[Found]:
    match node:
        case exp.IntDiv():
            yield "division", node
        case exp.Div() if not (_is_exact(node) or _is_double(node.this) or _is_double(node.expression)):
            yield "division", node
        case exp.Avg() if not _is_double(node.this):
            yield "division", node
        case exp.Sum() | exp.Avg() if _is_double(node.this):
            yield "double_sum", node
        case exp.Mod() if isinstance(node.this.unnest(), exp.Sub | exp.Neg):
            yield "remainder", node
        case exp.Round() if _is_double(node.this):
            yield "rounding", node
        case exp.Cast() if _family(node) == "number" and not _is_double(node):
            if _is_double(node.this) and not _is_whole(node.this):
                yield "rounding", node
        case exp.Cast() if _family(node) == "text" and (_is_double(node.this) or _family(node.this) == "boolean"):
            yield "text_form", node
        case exp.Literal(is_string=False) if "e" in node.name.lower() and not isinstance(node.parent, exp.Cast):
            yield "exponent", node


def _orders(node: exp.Expression, dialect: str) -> Iterator[Found]:
    # DuckDB compares bytes: on PostgreSQL alone the text must say so
    if dialect == "postgres":
        operands = _ordered(node)
        families = [_family(each) for each in operands]
        if "text" in families and not any(map(_is_by_bytes, operands)):
            yield "text_order", node
        elif "unknown" in families:
            yield "unknown_type", operands[families.index("unknown")]
    if isinstance(node, exp.Window) and isinstance(node.this, RANKED) and not _is_ordered(node):
        yield "unordered", node
    if isinstance(node, exp.Select) and not node.args.get("order"):
        distinct = node.args.get("distinct")
        if node.args.get("limit") or (distinct is not None and distinct.args.get("on")):
            yield "unordered", node.args.get("limit") or distinct


def _is_ordered(window: exp.Window) -> bool:
    """Say whether it is, by itself or by the named window that it refers to."""
    if window.args.get("order"):
        return True
    named = window.find_ancestor(exp.Select).args.get("windows") or []
    return any(each.name == window.alias and each.args.get("order") for each in named)


def _ordered(node: exp.Expression) -> list[exp.Expression]:
    """Return the operands whose order the node asks for."""
    if isinstance(node, exp.Ordered | exp.Min | exp.Max):
        return [node.this]
    if isinstance(node, exp.GT | exp.GTE | exp.LT | exp.LTE):
        return [node.this, node.expression]
    if isinstance(node, exp.Greatest | exp.Least):
        return [node.this, *node.expressions]
    if isinstance(node, exp.Between):
        return [node.this, node.args["low"], node.args["high"]]
    return []


def _is_by_bytes(operand: exp.Expression) -> bool:
    return operand.unnest().meta.get(DISPATCHED) == BYTE_ORDER


def _compared(node: exp.Expression) -> Iterator[list[exp.Expression]]:
    """Yield operands that become one type, or are compared as one."""
    if isinstance(node, COMPARISONS):
        yield [node.this, node.expression]
    elif isinstance(node, exp.Between):
        yield [node.this, node.args["low"], node.args["high"]]
    elif isinstance(node, exp.In):
        query = node.args.get("query")
        yield [node.this, *node.expressions, *(query.unnest().selects if query else [])]
    elif isinstance(node, exp.Coalesce | exp.Greatest | exp.Least):
        yield [node.this, *node.expressions]
    elif isinstance(node, exp.Nullif):
        yield [node.this, node.expression]
    elif isinstance(node, exp.Case):
        branches = node.args["ifs"]
        yield [each for each in (*(branch.args["true"] for branch in branches), node.args.get("default")) if each]
        if node.this:
            yield [node.this, *(branch.this for branch in branches)]
    elif isinstance(node, exp.Add | exp.Sub | exp.Mul | exp.Div | exp.Mod):
        # a number as the third: nothing else is calculated with
        yield [node.this, node.expression, exp.Literal.number(1)]
    elif isinstance(node, exp.Concat | exp.DPipe):
        yield [*node.flatten(), exp.Literal.string("")]
    elif isinstance(node, exp.SetOperation):
        yield from map(list, zip(node.left.selects, node.right.selects, strict=True))


_ZONE = re.compile(r":\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)$")
_FAMILIES = {
    **dict.fromkeys(exp.DataType.NUMERIC_TYPES, "number"),
    **dict.fromkeys(exp.DataType.TEXT_TYPES, "text"),
    exp.DataType.Type.TIMESTAMPTZ: "time",
    exp.DataType.Type.BOOLEAN: "boolean",
    exp.DataType.Type.NULL: "null",
}


def _family(node: exp.Expression) -> str:
    node = node.unalias().unnest()
    if isinstance(node, exp.Query):
        return _family(node.selects[0])
    if isinstance(node, exp.Literal):
        return "text" if node.is_string else "number"
    if isinstance(node, exp.Null):
        return "null"
    kind = node.type.this if node.type else exp.DataType.Type.UNKNOWN
    return _FAMILIES.get(kind, "unknown" if kind == exp.DataType.Type.UNKNOWN else str(kind))


def _is_double(node: exp.Expression) -> bool:
    return bool(node.type and node.type.is_type("double", "float"))


def _is_exact(node: exp.Div) -> bool:
    """Say whether it is ``(x - mod(x, n)) / n``, which leaves no remainder; x may be a remainder of a multiple of n."""
    match node.this.unnest(), node.expression.unnest():
        case exp.Sub(this=whole, expression=exp.Mod(this=divided, expression=divisor)), by if divisor.unnest() == by:
            match whole.unnest(), by:
                case (
                    exp.Mod(this=same, expression=exp.Literal(is_int=True) as multiple),
                    exp.Literal(is_int=True) as unit,
                ) if same == divided:
                    return int(multiple.name) % int(unit.name) == 0
            return bool(whole.unnest() == divided.unnest())
    return False


def _is_whole(node: exp.Expression) -> bool:
    """Say whether it has no fraction, whatever its type."""
    node = node.unnest()
    match node:
        case exp.Floor() | exp.Ceil() | exp.Trunc():
            return True
        case exp.Div():
            return _is_exact(node)
        case exp.Add() | exp.Sub() | exp.Mul() | exp.Mod():
            return _is_whole(node.this) and _is_whole(node.expression)
    return bool(node.type and node.type.is_type(*exp.DataType.INTEGER_TYPES)) or bool(node.is_int)


def _descending(sql: str, dialect: str) -> Iterator[Finding]:
    tokens = sqlglot.tokenize(sql, read=dialect)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.token_type == TokenType.DESC and (following is None or following.text.lower() != "nulls"):
            yield Finding("null_order", token.line, token.text)


def _name(node: exp.Func) -> str:
    return node.name.lower() if isinstance(node, exp.Anonymous) else node.sql_name().lower()


def _line(node: exp.Expression) -> int:
    """Return the first line of it, or of what it stands in."""
    at: exp.Expression | None = node
    while at is not None:
        lines = [each.meta["line"] for each in at.walk() if "line" in each.meta]
        if lines:
            return int(min(lines))
        at = at.parent
    return 1


def _excerpt(node: exp.Expression, dialect: str) -> str:
    text = node.sql(dialect)
    return text if len(text) <= 120 else f"{text[:117]}..."
