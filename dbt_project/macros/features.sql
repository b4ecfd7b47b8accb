{#- The windows of counts: suffix of the name, and days before as_of (none: all history). -#}
{% macro windows() -%} {{ return([('7d', 7), ('30d', 30), ('90d', 90), ('lifetime', none)]) }} {%- endmacro %}

{#- Of a count that shares an INTEGER with another. -#}
{% macro count_bits() -%} {{ return(30) }} {%- endmacro %}

{#- Two counts share an INTEGER, as digits to the base 2^30: its sum counts the facts that meet either condition, and is
    exact up to a billion facts of a lead. Half as many sums to make and to keep for each observation. -#}
{% macro pack(conditions) -%}
    cast(
        {%- for condition in conditions %}
        case when {{ condition }} then {{ 2 ** (count_bits() * loop.index0) }} else 0 end
        {%- if not loop.last %} +{% endif %}
        {%- endfor %} as integer
    )
{%- endmacro %}

{#- Sum of packed counts over the facts known in [as_of - days, as_of). -#}
{% macro sum_in_window(packed, days=none) -%}
    cast(sum(
        {%- if days is none -%} {{ packed }}
        {%- else -%} case when facts.known_us >= observations.as_of_us - {{ days }} * {{ day_us() }} then {{ packed }} end
        {%- endif -%}
    ) as bigint)
{%- endmacro %}

{#- One of the counts of a sum: the low digit (0) or the high one (1). A sum of nothing is null, and counts nothing. -#}
{% macro unpack(packed_sum, place) -%}
    coalesce({% if place == 0 %}mod({{ packed_sum }}, {{ 2 ** count_bits() }}){% else %}{{ packed_sum }} >> {{ count_bits() }}{% endif %}, 0)
{%- endmacro %}

{#- Share of a count in another, null where there is nothing to divide by. -#}
{% macro share(part, whole) -%}
    (cast({{ part }} as double precision) / nullif({{ whole }}, 0))
{%- endmacro %}

{#- Text compared byte by byte: the default collation of PostgreSQL depends on the server. -#}
{% macro byte_order(expression) -%} {{ return(adapter.dispatch('byte_order', 'leadline')(expression)) }} {%- endmacro %}
{% macro default__byte_order(expression) -%} {{ expression }} {%- endmacro %}
{% macro postgres__byte_order(expression) -%} {{ expression }} collate "C" {%- endmacro %}

{#- What asks a lead for an answer: a call, an e-mail or a text message to it. -#}
{% macro is_question() -%} direction = 'outbound' and interaction_type in ('call', 'email', 'sms') {%- endmacro %}

{#- Lead and rep in touch, whoever began. -#}
{% macro is_contact() -%} fact = 'interaction' and direction in ('inbound', 'outbound') {%- endmacro %}

{#- What tells who the rep of a lead is: the rep as of a moment is who performed the last of these known before it. -#}
{% macro names_rep(facts) -%}
    {{ facts }}.fact = 'interaction' and {{ facts }}.direction = 'outbound' and {{ facts }}.performed_by is not null
{%- endmacro %}
