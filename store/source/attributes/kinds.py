"""stub"""


def canonical(kind, text, *, at=""):
    return {
        "category": f"contact_free({text})",
        "number": f"cast(try_cast({text} as double) as varchar)",
        "flag": f"case when folded({text}) in ('true','yes','1') then 'true' when {text} is not null then 'false' end",
        "date": f"strftime(try_cast({text} as timestamptz), '%Y-%m-%dT%H:%M:%S.%fZ')",
        "choices": text,
    }[kind]
