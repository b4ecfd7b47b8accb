"""Review the SQL of the feature store: everything in the parsed text must be on a list of allowed parts.

A replay shows that a value does not depend on later facts. But some SQL depends on things that no replay can change:
the wall clock, chance, files, tables that dbt does not know, values that dbt computes while it compiles. The review
refuses everything that is not on the lists below, harmful or not. A function that depends on its arguments alone may
be added to them.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import sqlglot
from jinja2 import Environment, TemplateSyntaxError, meta, nodes
from sqlglot import exp
from sqlglot.errors import SqlglotError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS = _words(
    """
    abs and any_value array_agg avg bool_and bool_or case cast ceil ceiling coalesce collate concat concat_ws corr
    count cume_dist date_diff date_part date_trunc dense_rank epoch_us exists exp extract first_value floor greatest if
    lag last_value lead least left length ln log logical_and logical_or lower lpad ltrim make_timestamptz max md5 min
    mod nth_value ntile nullif or percent_rank percentile_cont percentile_disc power rank regexp_like replace right
    round row_number rpad rtrim sign split_part sqrt starts_with stddev stddev_pop stddev_samp str_position string_agg
    substring sum timestamp_trunc trim upper variance variance_pop xor
    """
)
"""Functions that depend on their arguments alone, by their names in sqlglot on either engine."""

CLAUSES = _words(
    """
    Add Alias All Any AtTimeZone Between BitwiseAnd BitwiseLeftShift BitwiseNot BitwiseOr BitwiseRightShift
    BitwiseXor Boolean CTE Column DPipe DataType DataTypeParam Distinct Div EQ Except Filter From GT GTE Group
    Having ILike Identifier IgnoreNulls In IntDiv Intersect Interval Is Join LT LTE Like Limit Literal Mod Mul NEQ
    Neg Not Null NullSafeEQ NullSafeNEQ Offset Order Ordered Paren Qualify RespectNulls Select Star Sub Subquery
    Table TableAlias Tuple Union Values Var Where Window WindowSpec With WithinGroup
    """
)
"""Parts of a query, by their class in sqlglot."""

TYPES = _words(
    """
    BIGINT BOOLEAN CHAR DATE DECIMAL DOUBLE FLOAT INT INTERVAL SMALLINT TEXT TIME TIMESTAMP TIMESTAMPTZ TINYINT VARCHAR
    """
)

PHYSICAL = frozenset({"cmax", "cmin", "ctid", "rowid", "tableoid", "xmax", "xmin"})
"""Columns of the engine in every table: they reveal the order in which rows were stored."""

OF_THE_SESSION = _words(
    """
    current_catalog current_database current_date current_localtime current_localtimestamp current_role current_schema
    current_time current_timestamp current_user localtime localtimestamp session_user system_user user
    """
)
"""Names to which an engine gives a value itself where no column has them, even where they are quoted."""

TEMPLATE_NAMES = frozenset(
    {"adapter", "caller", "config", "exceptions", "execute", "kwargs", "loop", "namespace", "range", "ref", "return"}
    | {"source", "this", "var", "varargs"}
)
"""Names that a template may use, besides its own variables and the macros of the project."""

TEMPLATE_VALUES = frozenset({"execute", "kwargs", "loop", "this", "varargs"})
"""The names among these that may stand anywhere. The others may only be called, or asked for an attribute."""

TEMPLATE_ATTRIBUTES = _words(
    """
    append database dispatch endswith extend first format get get_relation identifier include index index0 items join
    keys last length lower name pop raise_compiler_error removeprefix removesuffix replace schema split startswith strip
    update upper values
    column data_type form option stored
    """
)
"""Attributes that a template may ask for; those of the last line are of the features that follow from attributes."""

TEMPLATE_FILTERS = _words(
    """
    abs as_bool as_number as_text batch capitalize default first float format indent int items join last length list
    lower map max min reject rejectattr replace reverse round select selectattr slice sort string sum title trim unique
    upper
    """
)

CLOCK_MACRO, CLOCK_VARIABLE = "clock_us", "as_of"
"""The one macro that reads the clock of the run, and the variable that it reads: replays replace the text it writes."""

CLOCK_WRITER = "timestamp_from_us"
"""The macro that writes the clock as a time."""

COUNTING_HOOK = "report_row_count"

COLUMNS_HOOK = "attribute_columns"

HOOKS = frozenset({"count_rows_for_the_planner", "forget", "plan_for_whole_tables", COLUMNS_HOOK, COUNTING_HOOK})
"""The macros that may run before or after a model: none of them writes a row."""

ALLOWED_IN = {
    CLOCK_MACRO: frozenset({"modules", "datetime", "fromisoformat", "tzinfo", "days", "seconds", "microseconds"}),
    **dict.fromkeys(HOOKS, frozenset({"target", "type", "model", "config", "materialized"})),
    COUNTING_HOOK: frozenset({"log", "run_query", "rows"}),
    COLUMNS_HOOK: frozenset({"model", "columns"}),
}
"""Names and attributes that only these macros may use."""

_SPOKEN = re.compile(
    r"(?=.*(now|today|tomorrow|yesterday))([\s\d:.,+-]|now|today|tomorrow|yesterday|utc|am|pm|z)*", re.IGNORECASE
)
"""Texts that PostgreSQL may read as the wall clock, even without a cast."""

_MOMENT = re.compile(r"epoch|\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([+-]\d{2}(:?\d{2})?|Z)?)?")


class RefusedSqlError(RuntimeError):
    """The SQL of the store has parts that no replay can change; the message names the models and the parts."""


def refused_sql(about: str, sql: str, relations: Collection[tuple[str, str]], dialect: str) -> list[str]:
    """Return the forbidden parts of the compiled SQL of a model.

    Parameters
    ----------
    about : str
        The name of the model, for the sentences.
    sql : str
    relations : collection of tuple
        Schema and name of every relation that it may read.
    dialect : str
        ``duckdb`` or ``postgres``.

    Returns
    -------
    list of str
        Sentences, each with the name of the model; empty if everything is allowed.
    """
    try:
        (tree,) = sqlglot.parse(sql, dialect=dialect)
    except (SqlglotError, ValueError) as error:
        return [f"{about}: expected one query that can be read, found {str(error).splitlines()[0]}"]
    if tree is None:
        return [f"{about}: expected a query, found none"]
    tables = {cte.alias_or_name for cte in tree.find_all(exp.CTE)}
    found = {sentence for node in tree.walk() for sentence in _of_node(node, tables, relations)}
    return [f"{about}: {sentence}" for sentence in sorted(found)]


def _of_node(node: exp.Expr, tables: Collection[str], relations: Collection[tuple[str, str]]) -> Iterator[str]:
    if isinstance(node, exp.Table):
        yield from _of_table(node, tables, relations)
    elif isinstance(node, exp.Cast):
        yield from _of_cast(node)
    elif isinstance(node, exp.Func):
        if isinstance(node.parent, exp.Dot):
            yield f"the function {node.parent.sql()}() of a schema"
        elif (name := (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).lower()) not in FUNCTIONS:
            yield f"the function {name}(), which is not on the list of those that depend on their arguments alone"
    elif isinstance(node, exp.DataType):
        # a type that sqlglot does not know has only a name
        if getattr(node.this, "value", None) not in TYPES:
            yield f"the type {node.sql()}"
    elif isinstance(node, exp.Column):
        if node.name.lower() in PHYSICAL:
            yield f"the column {node.name}, which tells how rows are stored"
        elif node.name.lower() in OF_THE_SESSION:
            yield f"the name {node.name}, which the engine answers by itself"
    elif isinstance(node, exp.Literal):
        if node.is_string and _SPOKEN.fullmatch(node.name):
            yield f"the text {node.sql()}, which a database may read as a time of the wall clock"
    elif type(node).__name__ not in CLAUSES:
        yield f"{type(node).__name__} ({node.sql()[:60]})"


def _of_table(table: exp.Table, tables: Collection[str], relations: Collection[tuple[str, str]]) -> Iterator[str]:
    parts = table.parts
    if all(isinstance(part, exp.Identifier) for part in parts):
        if len(parts) == 1 and parts[0].name in tables:
            return
        quoted = len(parts) == 3 and all(part.args.get("quoted") for part in parts)
        if quoted and (parts[1].name, parts[2].name) in relations:
            return
    yield f"the relation {table.sql()}, which is neither a ref() nor a source() of the feature store"


def _of_cast(cast: exp.Cast) -> Iterator[str]:
    """Refuse casts from text to a time, unless the text is a fixed time: the text ``now`` is the wall clock."""
    if not cast.to.is_type(*exp.DataType.TEMPORAL_TYPES):
        return
    value = cast.this
    if isinstance(value, exp.Literal):
        if value.is_string and not _MOMENT.fullmatch(value.name.strip()):
            yield f"the time {cast.sql()}"
        return
    units = exp.Interval | exp.Extract | exp.TimestampTrunc
    texts = [each for each in value.find_all(exp.Literal) if each.is_string and not isinstance(each.parent, units)]
    if texts or value.find(exp.DPipe, exp.Concat, exp.Replace, exp.Lower, exp.Upper, exp.Trim, exp.Substring):
        yield f"the time {cast.sql()[:80]}, which is made of text"


def refused_templates(manifest: Mapping[str, Any], layers: Collection[str]) -> list[str]:
    """Return the forbidden parts of the templates of models: values that dbt computes while it compiles.

    Parameters
    ----------
    manifest : mapping of str to object
        The manifest of dbt.
    layers : collection of str
        Folders below ``models``.

    Returns
    -------
    list of str
        Sentences, each with the name of a model or macro; empty if everything is allowed.
    """
    macros = {
        macro["name"]: macro["macro_sql"]
        for macro in manifest["macros"].values()
        if macro["package_name"] == manifest["metadata"]["project_name"]
    }
    models = [
        node for node in manifest["nodes"].values() if node["resource_type"] == "model" and node["fqn"][1] in layers
    ]
    clocks = _clock_macros(macros)
    found: list[str] = []
    used: dict[str, str] = {}
    for node in models:
        about = f"{node['schema']}.{node['name']}"
        if node.get("language", "sql") != "sql":
            found.append(f"{about}: expected SQL, found {node['language']}")
            continue
        hooks = [hook["sql"] for kind in ("pre-hook", "post-hook") for hook in node["config"].get(kind, [])]
        found += [f"{about}: the hook {hook}" for hook in hooks if not _is_hook(hook)]
        for text in (node["raw_code"], *hooks):
            found += [f"{about}: {each}" for each in _of_template(text, about, "", macros, clocks, used)]
    for node in manifest["nodes"].values():
        if node["resource_type"] == "operation":
            found.append(f"{node['name']}: the hook {node['raw_code']!r} of the run")
    done: set[str] = set()
    while waiting := used.keys() - done:
        name = min(waiting)
        done.add(name)
        about = f"macro {name}, which {used[name]} uses"
        found += [f"{about}: {each}" for each in _of_template(macros[name], used[name], name, macros, clocks, used)]
    return sorted(set(found))


def _parsed(text: str) -> nodes.Template:
    # autoescape does not matter: the template is parsed and never rendered
    return Environment(autoescape=True, extensions=["jinja2.ext.do"]).parse(text)


def _is_hook(text: str) -> bool:
    body = _parsed(text.strip()).body
    if len(body) != 1 or not isinstance(body[0], nodes.Output) or len(body[0].nodes) != 1:
        return False
    (call,) = body[0].nodes
    return isinstance(call, nodes.Call) and isinstance(call.node, nodes.Name) and call.node.name in HOOKS


def _of_template(
    text: str, model: str, macro: str, macros: Mapping[str, str], clocks: Collection[str], used: dict[str, str]
) -> Iterator[str]:
    """Yield the forbidden parts of the template of a model or of a macro; add the macros that it calls to `used`."""
    try:
        tree = _parsed(text)
    except TemplateSyntaxError as error:
        yield f"a template that cannot be read ({error.message})"
        return
    own_names = {node.name for node in tree.find_all(nodes.Name) if node.ctx in ("store", "param")}
    # a variable that is set in one scope may be a name of dbt in another
    own_names -= meta.find_undeclared_variables(tree)
    allowed = ALLOWED_IN.get(macro, frozenset())
    asked = {id(call.node) for call in tree.find_all(nodes.Call)}
    asked |= {id(attribute.node) for attribute in tree.find_all(nodes.Getattr)}
    for name in tree.find_all(nodes.Name):
        if name.ctx != "load" or name.name in own_names:
            continue
        if name.name in macros:
            used.setdefault(name.name, model)
        elif name.name not in TEMPLATE_NAMES | allowed:
            yield f"{name.name}, which dbt computes while it compiles"
        if id(name) not in asked and name.name not in TEMPLATE_VALUES:
            yield f"{name.name} under another name"
    yield from _of_clock(tree, clocks)
    for attribute in tree.find_all(nodes.Getattr):
        if attribute.attr not in TEMPLATE_ATTRIBUTES | allowed:
            yield f".{attribute.attr}, which is not on the list of what templates may ask"
    for item in tree.find_all(nodes.Getitem):
        # an item can have the value of the attribute of the same name
        if not isinstance(item.arg, nodes.Slice) and not (
            isinstance(item.arg, nodes.Const) and isinstance(item.arg.value, int)
        ):
            yield "[…] of what is not a number"
    for filtered in tree.find_all(nodes.Filter):
        if filtered.name not in TEMPLATE_FILTERS:
            yield f"the filter {filtered.name}"
    for call in tree.find_all(nodes.Call):
        yield from _of_call(call, model, macro, macros, used)


def _of_call(
    call: nodes.Call, model: str, macro: str, macros: Mapping[str, str], used: dict[str, str]
) -> Iterator[str]:
    first = call.args[0].value if call.args and isinstance(call.args[0], nodes.Const) else None
    if isinstance(call.node, nodes.Name) and call.node.name == "var":
        if first is None:
            yield "var() of a name that is not written there"
        elif first == CLOCK_VARIABLE and macro != CLOCK_MACRO:
            yield f"var('{CLOCK_VARIABLE}'), which {CLOCK_MACRO}() alone may read"
    if isinstance(call.node, nodes.Getattr) and call.node.attr == "dispatch":
        # dispatch calls one macro of this name for each engine
        dispatched = {name for name in macros if first is not None and name.endswith(f"__{first}")}
        for name in dispatched:
            used.setdefault(name, model)
        if not dispatched:
            yield f"dispatch() of {first}, which is no macro of the project"


def _of_clock(tree: nodes.Template, clocks: Collection[str]) -> Iterator[str]:
    """Refuse the clock in an expression of a template: a replay can replace it only where the SQL has its digits."""
    written: set[int] = set()
    for output in tree.find_all(nodes.Output):
        for node in output.nodes:
            # the call itself, or an argument of the macro that writes the clock as a time
            inner = node.args if isinstance(node, nodes.Call) and _called(node) == CLOCK_WRITER else [node]
            written.update(id(each) for each in inner)
    blocks = (nodes.AssignBlock, nodes.CallBlock, nodes.FilterBlock)
    in_blocks = {id(call) for block in tree.find_all(blocks) for call in block.find_all(nodes.Call)}
    for call in tree.find_all(nodes.Call):
        if (name := _called(call)) in clocks and (id(call) not in written or id(call) in in_blocks):
            yield f"{name}() in an expression: the clock may stand in the SQL as it is, and nowhere else"


def _clock_macros(macros: Mapping[str, str]) -> set[str]:
    calls: dict[str, set[str]] = {}
    for name, text in macros.items():
        try:
            calls[name] = {each.name for each in _parsed(text).find_all(nodes.Name)}
        except TemplateSyntaxError:
            calls[name] = set()
    clocks = {CLOCK_MACRO}
    while more := {name for name, called in calls.items() if called & clocks} - clocks:
        clocks |= more
    return clocks


def _called(call: nodes.Call) -> str:
    """Return the name of the macro that is called, or an empty text where the call is of no name."""
    return call.node.name if isinstance(call.node, nodes.Name) else ""
