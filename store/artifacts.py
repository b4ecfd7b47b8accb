"""Folders of frozen training sets, versions, answers and reports."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ArtifactStore:
    """Folders of training sets, versions, answers and drift reports, by model.

    Parameters
    ----------
    root : str
    reports_address : str
        The address at which browsers reach the folder of reports while the UI runs.
    """

    root: str
    reports_address: str

    def training_sets(self, model: str) -> Path:
        """Folder of a model's training sets."""
        return Path(self.root) / "training_sets" / model

    def versions(self, model: str) -> Path:
        """Folder of a model's trained versions."""
        return Path(self.root) / "models" / model

    def answers(self, view: str) -> Path:
        """Folder of the answers to questions for a feature view."""
        return Path(self.root) / "answers" / view

    def reports(self, model: str) -> Path:
        """Folder of a model's drift reports."""
        return Path(self.root) / "reports" / model

    @property
    def docs(self) -> Path:
        """Path of the page of the dbt docs."""
        return Path(self.root) / "reports" / "dbt_docs" / "index.html"

    def report_address(self, report: Path) -> str:
        """Return the address at which browsers reach a report while the UI runs."""
        return f"{self.reports_address}/{report.relative_to(Path(self.root) / 'reports').as_posix()}"
