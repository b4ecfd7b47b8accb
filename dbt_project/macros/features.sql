{#- The windows of counts: suffix of the name, and days before as_of (none: all history). -#}
{% macro windows() -%} {{ return([('7d', 7), ('30d', 30), ('90d', 90), ('lifetime', none)]) }} {%- endmacro %}

{#- Bits of a count that shares an INTEGER with another count. -#}
{% macro count_bits() -%} {{ return(30) }} {%- endmacro %}

{#- Packs two conditions into one INTEGER, as digits to the base 2^30: its sum holds the counts of the facts that meet
    each condition, exactly up to a billion facts of a lead. So each observation needs half as many sums. -#}
{% macro pack(conditions) -%}
    cast(
        {%- for condition in conditions %}
        case when {{ condition }} then {{ 2 ** (count_bits() * loop.index0) }} else 0 end
        {%- if not loop.last %} +{% endif %}
        {%- endfor %} as integer
    )
{%- endmacro %}

{#- Sum of packed counts over the facts whose time, by default when they were known, lies in [as_of - days, as_of). -#}
{% macro sum_in_window(packed, days=none, time='known_us') -%}
    cast(sum(
        {%- if days is none -%} {{ packed }}
        {%- else -%} case when facts.{{ time }} >= observations.as_of_us - {{ days }} * {{ day_us() }} then {{ packed }} end
        {%- endif -%}
    ) as bigint)
{%- endmacro %}

{#- One count of a packed sum: the low digit (place 0) or the high digit (place 1); 0 for a sum over no facts. -#}
{% macro unpack(packed_sum, place) -%}
    coalesce({% if place == 0 %}mod({{ packed_sum }}, {{ 2 ** count_bits() }}){% else %}{{ packed_sum }} >> {{ count_bits() }}{% endif %}, 0)
{%- endmacro %}

{#- Share of a count in another; null if the other is 0. -#}
{% macro share(part, whole) -%}
    (cast({{ part }} as double precision) / nullif({{ whole }}, 0))
{%- endmacro %}

{#- Change of an amount since its first value, as a share of the larger of the two; 0 if both are 0. -#}
{% macro change_rate(value, first_value) -%}
        case
            when {{ value }} = 0 and {{ first_value }} = 0 then 0
            else cast({{ value }} - {{ first_value }} as double precision)
                / cast(greatest({{ value }}, {{ first_value }}) as double precision)
        end
{%- endmacro %}

{#- Text compared byte by byte: the default collation of PostgreSQL depends on the server. -#}
{% macro byte_order(expression) -%} {{ return(adapter.dispatch('byte_order', 'leadline')(expression)) }} {%- endmacro %}
{% macro default__byte_order(expression) -%} {{ expression }} {%- endmacro %}
{% macro postgres__byte_order(expression) -%} {{ expression }} collate "C" {%- endmacro %}

{#- Condition of a question to a lead: an outbound call, e-mail or text message. -#}
{% macro is_question() -%} direction = 'outbound' and interaction_type in ('call', 'email', 'sms') {%- endmacro %}

{#- Condition of a contact: an inbound or outbound interaction. -#}
{% macro is_contact() -%} fact = 'interaction' and direction in ('inbound', 'outbound') {%- endmacro %}

{#- Condition of a fact that names the rep of a lead: the performer of the last such fact known before a moment. -#}
{% macro names_rep(facts) -%}
    {{ facts }}.fact = 'interaction' and {{ facts }}.direction = 'outbound' and {{ facts }}.performed_by is not null
{%- endmacro %}

{#- The last moment of the grid of customers up to a moment: every second Monday, of which 1970-01-05 was one. -#}
{% macro grid_us(us) -%}
    ({{ us }} - mod({{ us }} + 10 * {{ day_us() }}, 14 * {{ day_us() }}))
{%- endmacro %}

{#- 1 for a customer that is active at a moment, else 0: with contracts while its row says that it is open, else if a
    purchase was known in the 90 days before. -#}
{% macro is_active_customer(last_purchase_us, row_us, closed_us, as_of_us) -%}
    {%- if var('customers_close') -%}
        case
            when {{ row_us }} < {{ as_of_us }} and ({{ closed_us }} is null or {{ closed_us }} >= {{ as_of_us }}) then 1 else 0
        end
    {%- else -%}
        case when {{ last_purchase_us }} >= {{ as_of_us }} - 90 * {{ day_us() }} then 1 else 0 end
    {%- endif -%}
{%- endmacro %}

{#- An amount in hundredths, as a decimal in units. -#}
{% macro in_units(hundredths) -%}
    cast({{ hundredths }} * 0.01 as decimal(18, 2))
{%- endmacro %}

{#- Whole seconds of a length in microseconds that is not negative. -#}
{% macro whole_seconds(us) -%}
    cast(({{ us }} - mod({{ us }}, 1000000)) / 1000000 as bigint)
{%- endmacro %}

{#- Months of 30 days from a moment to as_of, at least one, so that a rate of a young customer is not huge. -#}
{% macro months_since(us) -%}
    greatest({{ days_between(us, 'observations.as_of_us') }} / 30, 1)
{%- endmacro %}

{#- In which fifth of the active customers a value lies, 1 to 5: how many of four cuts it exceeds. Null for a customer that
    has bought nothing, and where there were no active customers. -#}
{% macro fifth(value, cut) -%}
    case
        when counted.last_purchase_us is not null and quintiles.purchases_cut_1 is not null
            then cast(
                1
                {%- for place in [1, 2, 3, 4] %}
                + case when {{ value }} > {{ cut }}{{ place }} then 1 else 0 end
                {%- endfor %} as bigint
            )
    end
{%- endmacro %}
