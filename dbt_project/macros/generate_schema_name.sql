{#- Schemas are the layers (staging, features, marts …) and have the same names on every engine and in every environment. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
