{#- Rows out = rows in: a view of features neither loses nor multiplies its observations. -#}
{% test rows_equal_to(model, relation) %}
with counts as (
    select
        (select count(*) from {{ model }}) as found,
        (select count(*) from {{ relation }}) as expected
)

select * from counts
where found <> expected
{% endtest %}

{#- At most one row per combination of the columns. -#}
{% test unique_combination(model, columns) %}
select
    {{ columns | join(', ') }},
    count(*) as row_count
from {{ model }}
group by {{ columns | join(', ') }}
having count(*) > 1
{% endtest %}

{#- Values lie in [low, high]; null passes. -#}
{% test between(model, column_name, low, high) %}
select *
from {{ model }}
where {{ column_name }} < {{ low }} or {{ column_name }} > {{ high }}
{% endtest %}

{#- As dbt's own tests, but whole rows: a failure shows the keys of the rows that do not fit. -#}
{% macro default__test_not_null(model, column_name) %}
select *
from {{ model }}
where {{ column_name }} is null
{% endmacro %}

{% macro default__test_accepted_values(model, column_name, values, quote=True) %}
select *
from {{ model }}
where
    {{ column_name }} not in (
        {%- for value in values %}{{ "'" ~ value ~ "'" if quote else value }}{{ ", " if not loop.last }}{% endfor -%}
    )
{% endmacro %}
