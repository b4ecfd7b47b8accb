{#- Schemas are the layers (staging, features, marts …) and have the same names on every engine and in every environment.
    Except marts in PostgreSQL: dbt builds them in marts_unpublished, and readers get a complete build in marts. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set layer = (custom_schema_name or target.schema) | trim -%}
    {{ 'marts_unpublished' if layer == 'marts' and target.type == 'postgres' else layer }}
{%- endmacro %}
