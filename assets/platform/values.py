"""Values between steps, kept as JSON: the identifier of a training set or a version, or why there is none.

Dagster would pickle them, and unpickling a file can run code in it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import dagster as dg

from models.artifacts import UnreadableFileError, read_object, replace_file
from models.untrainable import Untrainable


class JsonValues(dg.ConfigurableIOManager):
    """Keeps the value of an asset in ``<root>/<key>.json``.

    Parameters
    ----------
    root : str
    """

    root: str

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Keep a text or an `Untrainable`; keep nothing for None.

        Raises
        ------
        TypeError
            If the value is anything else.
        """
        if obj is None:
            return
        if isinstance(obj, Untrainable):
            text = json.dumps({"untrainable": asdict(obj)})
        elif isinstance(obj, str):
            text = json.dumps({"value": obj})
        else:
            raise TypeError(
                f"{context.asset_key.to_user_string()}: expected a value that is text or Untrainable, found "
                f"{type(obj).__name__}. Keep the data in a table or a file, and return its identifier."
            )
        replace_file(self._path(context.asset_key), text)

    def load_input(self, context: dg.InputContext) -> str | Untrainable:
        """Return the value of the asset that an input names.

        Raises
        ------
        dagster.Failure
            If the file is missing or unreadable.
        """
        path = self._path(context.asset_key)
        try:
            content = read_object(path)
            if "untrainable" in content:
                reason, horizon_matters = content["untrainable"]["reason"], content["untrainable"]["horizon_matters"]
                return Untrainable(reason=str(reason), horizon_matters=horizon_matters is True)
            if isinstance(content["value"], str):
                return content["value"]
            found = repr(content)
        except FileNotFoundError:
            found = "no file"
        except UnreadableFileError as error:
            found = error.found
        except (KeyError, TypeError) as error:
            found = f"JSON without a value ({error!r})"
        name = context.asset_key.to_user_string()
        raise dg.Failure(
            description=f"{path}: expected the value of {name}, found {found}. Materialize {name} again.",
            allow_retries=False,
        )

    def _path(self, key: dg.AssetKey) -> Path:
        return Path(self.root).joinpath(*key.path[:-1], f"{key.path[-1]}.json")
