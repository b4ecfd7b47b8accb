"""The code location: assets, checks, jobs, schedules and resources, put together."""

from __future__ import annotations

import dagster as dg

from assets import (
    candidates,
    champions,
    crm,
    documentation,
    drift,
    feature_catalogue,
    feature_history,
    feature_quality,
    feature_store,
    marts,
    proof,
    retrain_decisions,
    scores,
    source_health,
    training_sets,
)
from assets.dbt import DBT, DBT_PROJECT, Dbt
from assets.environment import OWN_SERVER, SettingError, point_at_home, settings
from assets.resources import (
    ArtifactStore,
    Clock,
    CompiledSql,
    Confirmations,
    CrmSource,
    Grading,
    Horizons,
    Proving,
    Publication,
    Splitting,
)
from assets.values import JsonValues
from assets.warehouse import Warehouse
from orchestration.jobs import recompute_days, retrain_jobs, score_leads, whole_loop
from orchestration.progress import progress_logger
from orchestration.schedules import nightly_scores
from orchestration.sensors import retrain_sensor

_settings = settings()
if _settings.warehouse == OWN_SERVER:
    raise SettingError(
        f"LEADLINE_WAREHOUSE: expected the address of a database, found {OWN_SERVER}. That server is started by "
        f"`make run WAREHOUSE={OWN_SERVER}` and `make ui WAREHOUSE={OWN_SERVER}`, which pass its address on: use one "
        "of them, or set the address of a server of yours."
    )
point_at_home(_settings)

defs = dg.Definitions(
    assets=dg.load_assets_from_modules(
        [
            crm,
            feature_store,
            feature_history,
            feature_quality,
            training_sets,
            candidates,
            champions,
            feature_catalogue,
            scores,
            marts,
            documentation,
            source_health,
            drift,
            retrain_decisions,
        ],
        include_specs=True,
    ),
    asset_checks=dg.load_asset_checks_from_modules([proof]),
    jobs=[whole_loop, score_leads, recompute_days, *retrain_jobs],
    schedules=[nightly_scores],
    sensors=[retrain_sensor],
    # a step in a process of its own costs eight seconds, and DuckDB admits one writing process
    executor=dg.in_process_executor,
    loggers={"console": progress_logger},
    resources={
        # an address may hold a password, and what is passed as it is stands in the UI and in Dagster's storage
        "warehouse": Warehouse(
            address=dg.EnvVar("LEADLINE_WAREHOUSE") if "://" in _settings.warehouse else _settings.warehouse
        ),
        "artifacts": ArtifactStore(root=str(_settings.artifacts), reports_port=_settings.reports_port),
        "compiled": CompiledSql(root=str(_settings.compiled)),
        "publication": Publication(
            path=str(_settings.published),
            group=_settings.published_group,
            record=str(_settings.publication_record),
            accepted=_settings.accept_publication,
        ),
        "clock": Clock(),
        "grading": Grading(new=_settings.new_grades),
        "proving": Proving(accepted=_settings.accept_proof),
        "confirmations": Confirmations(
            features={model: list(names) for model, names in _settings.confirmed_features.items()}
        ),
        "splitting": Splitting(split=_settings.split),
        "horizons": Horizons(overrides=dict(_settings.horizon_days)),
        "crm_source": CrmSource(
            address=dg.EnvVar("LEADLINE_SOURCE") if "://" in (_settings.source or "") else _settings.source,
            mapping=_settings.mapping,
            as_of=None if _settings.as_of is None else _settings.as_of.isoformat(),
            accept_new_source=_settings.accept_new_source,
            accept_extraction=_settings.accept_extraction,
            accepted_since=(
                None if _settings.source_accepted_since is None else _settings.source_accepted_since.isoformat()
            ),
            state_dir=str(_settings.home / "extraction"),
            simulated=str(_settings.home / "simulated_crm"),
            simulation_leads=_settings.simulation_leads,
            simulation_months=_settings.simulation_months,
            simulation_seed=_settings.simulation_seed,
        ),
        # what it inherits takes a project as well
        "dbt": Dbt(project_dir=DBT_PROJECT, dbt_executable=DBT),  # type: ignore[arg-type]
        "io_manager": JsonValues(root=str(_settings.home / "artifacts" / "values")),
    },
)


def resolved_whole_loop() -> dg.JobDefinition:
    """Return the job, for execution in this process."""
    return defs.resolve_job_def("whole_loop")


def resolved_score_leads() -> dg.JobDefinition:
    """Return the job, for execution in this process."""
    return defs.resolve_job_def("score_leads")
