{{ config(materialized='table') }}

{#- The quintiles of the last build: this model runs before they are updated. -#}
{%- set quintiles_before = adapter.get_relation(
    database=this.database, schema=this.schema, identifier='customer_quintiles'
) if is_increment() and execute else none -%}

with after_it as (

    select *
    from {{ ref('customer_quintiles_now') }}

),

{% if quintiles_before is not none -%}
before_it as (

    select *
    from {{ quintiles_before }}

),

gone as (

    select * from before_it
    except
    select * from after_it

),

come as (

    select * from after_it
    except
    select * from before_it

),

different as (

    select as_of_us from gone
    union all
    select as_of_us from come

)
{% else -%}
different as (

    select as_of_us
    from after_it
    where 1 = 0

)
{% endif %}
-- observations after this moment may differ
select cast(min(as_of_us) - 1 as bigint) as changed_us
from different
