{#- The predictions of the champions for the entities of one kind, at the clock. -#}
{% macro champion_predictions(entity) -%}
    select
        predictions.entity_id as {{ entity }}_id,
        predictions.model,
        predictions.version,
        predictions.target as outcome,
        predictions.value as probability,
        predictions.score,
        predictions.grade,
        predictions.reasons,
        predictions.outside_training,
        predictions.chosen,
        predictions.scored_at
    from {{ source('ml', 'ml_predictions') }} as predictions
    inner join {{ source('ml', 'ml_champions') }} as champions
        on predictions.model = champions.model
            and predictions.version = champions.version
    where predictions.entity = '{{ entity }}' and predictions.as_of = {{ timestamp_from_us(clock_us()) }}
{%- endmacro %}

{#- Why models have no score at the clock. -#}
{% macro unscored_reasons() -%}
    select
        model,
        unscored_reason
    from {{ source('ml', 'ml_scoring_logs') }}
    where as_of = {{ timestamp_from_us(clock_us()) }}
{%- endmacro %}

{#- The rows of the relation `scored` that a history lacks, by the key of the entity, as_of and the versions, which may
    be null. PostgreSQL joins by hash on `=` alone. -#}
{% macro new_scores(key, versions) -%}
    select scored.*
    from scored
    {%- if is_incremental() %}
    where not exists (
            select 1
            from {{ this }} as history
            where
                history.{{ key }} = scored.{{ key }}
                and history.as_of = scored.as_of
                {%- for version in versions %}
                and history.{{ version }} is not distinct from scored.{{ version }}
                {%- endfor %}
        )
    {%- endif %}
{%- endmacro %}

{#- A row if a mart has not exactly the entities of the relation `expected_rows`: rows out = rows in. -#}
{% macro rows_differ(mart, key) -%}
    counts as (
        select
            (select count(*) from expected_rows) as expected,
            (select count(*) from {{ mart }}) as found,
            (
                select count(*)
                from {{ mart }} as scores
                inner join expected_rows on scores.{{ key }} = expected_rows.{{ key }}
            ) as matched
    )

    select *
    from counts
    where found <> expected or matched <> expected
{%- endmacro %}
