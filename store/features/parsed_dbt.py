"""dbt on the project as it was parsed before: ``python parsed_dbt.py <parsed project> <arguments of dbt>``.

A dbt of its own parses the whole project for each clock, because the clock is a variable; that takes longer than most
builds. `store.features.dbt_project.manifest_path` keeps the parsed project beside the manifest.
"""

import sys
from pathlib import Path

from dbt.cli.main import cli
from dbt.contracts.graph.manifest import Manifest
from dbt.parser.manifest import extended_mashumuro_decoder

if __name__ == "__main__":
    path, *arguments = sys.argv[1:]
    manifest = Manifest.from_msgpack(Path(path).read_bytes(), decoder=extended_mashumuro_decoder)
    cli.main(arguments, prog_name="dbt", obj={"manifest": manifest})
