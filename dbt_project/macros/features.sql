{#- The windows of counts: suffix of the name, and days before as_of (none: all history). -#}
{% macro windows() -%} {{ return([('7d', 7), ('30d', 30), ('90d', 90), ('lifetime', none)]) }} {%- endmacro %}

{#- Number of joined facts that meet the condition in [as_of - days, as_of). A count() of cases and not their sum(): its
    state is a third in size, and the whole view took a tenth to a quarter less time on DuckDB. -#}
{% macro count_facts(condition, days=none) -%}
    count(case when {{ condition }}
        {%- if days is not none %} and known_us >= as_of_us - {{ days }} * {{ day_us() }}{% endif %} then 1 end)
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
