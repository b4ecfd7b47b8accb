{#- Leadline reads the number of rows from dbt's log: while dbt runs, nobody else can open a DuckDB file. -#}
{% macro report_row_count() -%}
    {%- if execute -%}
        {%- do log('rows ' ~ run_query('select count(*) from ' ~ this).rows[0][0], info=true) -%}
    {%- endif -%}
{%- endmacro %}
