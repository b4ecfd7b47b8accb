{#- Schemas are the layers (staging, features, marts …) and have the same names on every engine and in every environment.
    But one: a PostgreSQL database has its readers in schema marts, which gets a build as a whole, when it is complete. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {%- set layer = (custom_schema_name or target.schema) | trim -%}
    {{ 'marts_unpublished' if layer == 'marts' and target.type == 'postgres' else layer }}
{%- endmacro %}
