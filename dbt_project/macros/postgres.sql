{#- PostgreSQL expects far too few rows from a join on two columns, and then reads one table of a hundred thousand rows
    once per row of the other. Models read whole tables, for which a hash join is never much worse.
    `store.warehouse.postgres.scratch.WHOLE_TABLES` has the same settings for queries that do not run through dbt. -#}
{% macro plan_for_whole_tables() -%}
    {%- if target.type == 'postgres' -%} set local enable_nestloop = off; set local work_mem = '64MB' {%- endif -%}
{%- endmacro %}

{#- The next model is planned at once, and the server itself counts the rows of a new table only a minute later. -#}
{% macro count_rows_for_the_planner() -%}
    {%- if target.type == 'postgres' and model.config.materialized != 'view' -%} analyze {{ this }} {%- endif -%}
{%- endmacro %}
