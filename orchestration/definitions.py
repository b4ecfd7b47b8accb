"""The code location: assets, checks, jobs, schedule and sensor, with the resources that the settings name."""

import dagster as dg

from assets.features import feature_catalogue
from assets.features.feature_history import recompute_days
from assets.features.feature_store import feature_store_assets
from assets.features.questions import question_job
from assets.ingest import crm
from assets.monitoring import source_health
from assets.platform.dbt import Dbt
from assets.platform.resources import Clock, CrmSource, Proving, retry_step
from assets.platform.values import JsonValues
from assets.publishing import documentation
from assets.publishing.marts import mart_assets, snapshot_asset
from models.declared.registry import DECLARATIONS, FEATURE_VIEWS
from models.declaring.declaration import Horizons
from orchestration.jobs import nightly_scores, score_leads, whole_loop
from orchestration.models import model_definitions, view_definitions, with_code
from orchestration.progress import progress_logger
from orchestration.sensors import retrain_sensor, tidy_sensor
from store.artifacts import ArtifactStore
from store.features.certificates import CompiledSql
from store.features.dbt_project import DBT, DBT_PROJECT, check_labels, manifest_path
from store.home import point_at_home
from store.places import OWN_SERVER, SettingError
from store.publishing.publications import Publication
from store.settings import is_dagster_dev, prepare_process, settings
from store.warehouse.warehouse import Warehouse


@dg.definitions
def defs() -> dg.Definitions:
    """Return the code location of the home that the settings name; make the home if it does not exist.

    Raises
    ------
    SettingError
        If a setting cannot be used.
    DbtParseError
        If the dbt project does not parse.
    """
    prepare_process()
    if is_dagster_dev():
        raise SettingError(
            "dagster dev: expected `make ui` (or .venv/bin/python -m orchestration ui), which is dagster dev on the "
            "home that the settings name, found dagster dev by itself: it would keep its runs elsewhere, run each "
            "schedule a second time, let steps open the warehouse at once, and answer to pages of other sites. End it "
            "(Ctrl-C) and start `make ui`."
        )
    chosen = settings()
    if chosen.warehouse == OWN_SERVER:
        raise SettingError(
            f"LEADLINE_WAREHOUSE: expected the address of a database, found {OWN_SERVER}. That server is started by "
            f"`make run WAREHOUSE={OWN_SERVER}` and `make ui WAREHOUSE={OWN_SERVER}`, which pass its address on: use "
            "one of them, or set the address of a server of yours."
        )
    point_at_home(chosen)
    manifest = manifest_path()
    check_labels(manifest)
    marts = mart_assets(manifest)
    shared = [crm, feature_catalogue, documentation, source_health]
    common = dg.Definitions(
        assets=with_code(
            *dg.load_assets_from_modules(shared, include_specs=True),
            feature_store_assets(manifest),
            marts,
            snapshot_asset(marts),
        ),
        jobs=[whole_loop, score_leads, recompute_days, question_job],
        schedules=[nightly_scores],
        sensors=[retrain_sensor, tidy_sensor],
        # a process per step would take eight seconds each, and DuckDB admits one writing process
        executor=dg.in_process_executor,
        loggers={"console": progress_logger},
        resources={
            "warehouse": Warehouse(address=chosen.warehouse, when_lost=retry_step),
            "artifacts": ArtifactStore(root=str(chosen.artifacts), reports_address=chosen.reports_address),
            "compiled": CompiledSql(root=str(chosen.compiled)),
            "publication": Publication(
                path=str(chosen.published),
                group=chosen.published_group,
                record=str(chosen.publication_record),
                accepted=chosen.accept_publication,
            ),
            "clock": Clock(),
            "new_grades": chosen.new_grades,
            "proving": Proving(accepted=chosen.accept_proof),
            "confirmed_features": chosen.confirmed_features,
            "horizons": Horizons(overrides=chosen.horizon_days),
            "crm_source": CrmSource.of(chosen),
            "dbt": Dbt(project_dir=str(DBT_PROJECT), dbt_executable=DBT),
            "io_manager": JsonValues(root=str(chosen.home / "artifacts" / "values")),
        },
    )
    return dg.Definitions.merge(
        common,
        *(view_definitions(each) for each in FEATURE_VIEWS.values()),
        *(model_definitions(each) for each in DECLARATIONS.values()),
    )


def job(name: str) -> dg.JobDefinition:
    """Return a job of the code location, for execution in this process."""
    return defs().resolve_job_def(name)
