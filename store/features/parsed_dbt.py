"""dbt on the project as it was parsed before: ``python parsed_dbt.py <parsed project> <arguments of dbt>``.

The values of several arguments ``--vars`` are parts of one text: Linux passes no argument of more than 128 KiB.

A dbt of its own parses the whole project for each clock, because the clock is a variable; that takes longer than most
builds. `store.features.dbt_project.manifest_path` keeps the parsed project beside the manifest.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

VARIABLES = "--vars"

LONGEST = 100_000
"""An argument has at most so many bytes."""


def in_parts(variables: str) -> Iterator[str]:
    """Yield the arguments that pass the variables, which are ASCII."""
    for start in range(0, len(variables), LONGEST):
        yield VARIABLES
        yield variables[start : start + LONGEST]


def joined(arguments: list[str]) -> list[str]:
    """Return arguments of dbt, in which the parts of the variables are one."""
    places = [place for place, each in enumerate(arguments) if each == VARIABLES]
    parts = [arguments[place + 1] for place in places]
    others = [each for place, each in enumerate(arguments) if not {place, place - 1} & {*places}]
    return [*others, VARIABLES, "".join(parts)] if parts else others


if __name__ == "__main__":
    # the modules that pass variables to this program need no dbt
    from dbt.cli.main import cli
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    path, *arguments = sys.argv[1:]
    arguments = joined(arguments)
    manifest = Manifest.from_msgpack(Path(path).read_bytes(), decoder=extended_mashumuro_decoder)
    cli.main(arguments, prog_name="dbt", obj={"manifest": manifest})
