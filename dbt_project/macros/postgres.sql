{#- PostgreSQL guesses how many rows a join on two columns has, far too few, and then joins tables of a hundred thousand
    rows by reading one of them once per row of the other. Models read whole tables: hashing them is never much worse.
    `store.warehouse.postgres.scratch.WHOLE_TABLES` says the same to queries that do not run through dbt. -#}
{% macro plan_for_whole_tables() -%}
    {%- if target.type == 'postgres' -%} set local enable_nestloop = off; set local work_mem = '64MB' {%- endif -%}
{%- endmacro %}

{#- The server counts the rows of a new table a minute later, and the next model is planned at once. -#}
{% macro count_rows_for_the_planner() -%}
    {%- if target.type == 'postgres' and model.config.materialized != 'view' -%} analyze {{ this }} {%- endif -%}
{%- endmacro %}
