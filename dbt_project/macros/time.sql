{#- One clock on every engine: BIGINT microseconds since 1970-01-01 UTC. -#}

{% macro day_us() -%} 86400000000 {%- endmacro %}
{% macro hour_us() -%} 3600000000 {%- endmacro %}

{#- Microseconds since 1970 of a timestamp with time zone. -#}
{% macro epoch_us(expression) -%} {{ return(adapter.dispatch('epoch_us', 'leadline')(expression)) }} {%- endmacro %}
{% macro duckdb__epoch_us(expression) -%} epoch_us({{ expression }}) {%- endmacro %}
{% macro default__epoch_us(expression) -%} cast(extract(epoch from {{ expression }}) * 1000000 as bigint) {%- endmacro %}

{#- Microseconds since 1970 of a moment as raw.changes writes it, 2026-01-31T00:00:00.000000Z: the text says its zone. -#}
{% macro told_us(text) -%} {{ epoch_us('cast(' ~ text ~ ' as timestamp with time zone)') }} {%- endmacro %}

{#- Timestamp with time zone of microseconds since 1970. -#}
{% macro timestamp_from_us(expression) -%} {{ return(adapter.dispatch('timestamp_from_us', 'leadline')(expression)) }} {%- endmacro %}
{% macro duckdb__timestamp_from_us(expression) -%} make_timestamptz({{ expression }}) {%- endmacro %}
{% macro default__timestamp_from_us(expression) -%}
    (timestamp with time zone 'epoch' + ({{ expression }}) * interval '1 microsecond')
{%- endmacro %}

{#- The clock of this run, as a BIGINT literal: the same text on every engine. -#}
{% macro clock_us() -%}
    {%- set clock = modules.datetime.datetime.fromisoformat(var('as_of')) -%}
    {%- if clock.tzinfo is none -%}
        {{ exceptions.raise_compiler_error(
            "var as_of: expected a time with a zone such as 2026-01-31T00:00:00+00:00, found " ~ var('as_of')
        ) }}
    {%- endif -%}
    {%- set since = clock - modules.datetime.datetime.fromisoformat('1970-01-01T00:00:00+00:00') -%}
    {{ (since.days * 86400 + since.seconds) * 1000000 + since.microseconds }}
{%- endmacro %}

{#- Midnight UTC after the moment. The contract refuses times before 1970, so mod() is never of a negative number. -#}
{% macro next_midnight_us(expression) -%}
    ({{ expression }} - mod({{ expression }}, {{ day_us() }}) + {{ day_us() }})
{%- endmacro %}

{#- Day of the week in UTC, 0 Monday to 6 Sunday; 1970-01-01 was a Thursday. -#}
{% macro weekday(us) -%}
    mod(({{ us }} - mod({{ us }}, {{ day_us() }})) / {{ day_us() }} + 3, 7)
{%- endmacro %}

{#- Days, with their fraction, from an earlier moment to a later one. -#}
{% macro days_between(earlier_us, later_us) -%}
    (cast({{ later_us }} - {{ earlier_us }} as double precision) / {{ day_us() }})
{%- endmacro %}

{#- Microseconds from one moment to another; 0 if the other came before it, null if it never came. -#}
{% macro delay_us(since_us, until_us) -%}
    case when {{ until_us }} < {{ since_us }} then 0 else {{ until_us }} - {{ since_us }} end
{%- endmacro %}

{#- Hour of the day in UTC, 0 to 23. -#}
{% macro hour_of_day(us) -%}
    cast((mod({{ us }}, {{ day_us() }}) - mod({{ us }}, {{ hour_us() }})) / {{ hour_us() }} as bigint)
{%- endmacro %}
