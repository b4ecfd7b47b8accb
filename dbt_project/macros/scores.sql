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

{#- The rows of the relation `scored` that a history lacks, by their key: the entity, as_of and the versions. -#}
{% macro new_scores(key) -%}
    select scored.*
    from scored
    {%- if is_incremental() %}
    where not exists (
            select 1
            from {{ this }} as history
            where
                {%- for column in key %}
                {{ 'and ' if not loop.first }}history.{{ column }} is not distinct from scored.{{ column }}
                {%- endfor %}
        )
    {%- endif %}
{%- endmacro %}
