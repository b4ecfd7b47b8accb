{% for name in var('features_and_labels') -%}
-- depends_on: {{ ref(name) }}
{% endfor -%}
with clock as (

    -- written after features and labels, so that readers can tell whether these are of the last extraction
    select
        {{ timestamp_from_us(clock_us()) }} as as_of,
        cast({{ var('load_number') }} as bigint) as load_number,
        cast('{{ var('build_code') }}' as text) as build_code

)

select * from clock
