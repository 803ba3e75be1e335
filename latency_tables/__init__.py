"""What a block costs on a device: measured tables that state their own error, and estimates that say they are."""

from fednas.latency_tables.block_features import block_features, network_features
from fednas.latency_tables.block_model import LEAST_PRICE_MS, BlockModel, fit_block_model
from fednas.latency_tables.blocks import BlockKind, BlockSpec, Shortcut
from fednas.latency_tables.crowding import chosen_crowding, crowded_ms, crowdings_for, uncrowded_ms
from fednas.latency_tables.diff import EntryChange, TableDiff, diff
from fednas.latency_tables.estimate import EstimatedLatencyModel, estimate_for
from fednas.latency_tables.finding import Finding
from fednas.latency_tables.fingerprint import Difference, machine_differences, table_differences
from fednas.latency_tables.fitting import AdditiveFit, conformal_factor, fit_additive, require_readings
from fednas.latency_tables.lint import contradictions, lint, lint_readings
from fednas.latency_tables.lint_entries import launch_dominated
from fednas.latency_tables.measured import (
    MeasuredLatencyModel,
    border_numbers,
    contribution_ms,
    load_latency_model,
    network_ms,
)
from fednas.latency_tables.model import (
    AdditiveTerms,
    LatencyModel,
    LatencyPrediction,
    ModelIdentity,
    require_fit,
)
from fednas.latency_tables.nonnegative import solve_nonnegative
from fednas.latency_tables.percentiles import readings_needed
from fednas.latency_tables.table import (
    Calibration,
    Energy,
    GpuState,
    Interval,
    LatencyTable,
    LayerUse,
    Machine,
    NetworkReading,
    Report,
    Session,
    Source,
    SpaceRecord,
    TableEntry,
    load_table,
    readings_path,
    save_table,
    table_from_json,
)

__all__ = [
    "LEAST_PRICE_MS",
    "AdditiveFit",
    "AdditiveTerms",
    "BlockKind",
    "BlockModel",
    "BlockSpec",
    "Calibration",
    "Difference",
    "Energy",
    "EntryChange",
    "EstimatedLatencyModel",
    "Finding",
    "GpuState",
    "Interval",
    "LatencyModel",
    "LatencyPrediction",
    "LatencyTable",
    "LayerUse",
    "Machine",
    "MeasuredLatencyModel",
    "ModelIdentity",
    "NetworkReading",
    "Report",
    "Session",
    "Shortcut",
    "Source",
    "SpaceRecord",
    "TableDiff",
    "TableEntry",
    "block_features",
    "border_numbers",
    "chosen_crowding",
    "conformal_factor",
    "contradictions",
    "contribution_ms",
    "crowded_ms",
    "crowdings_for",
    "diff",
    "estimate_for",
    "fit_additive",
    "fit_block_model",
    "launch_dominated",
    "lint",
    "lint_readings",
    "load_latency_model",
    "load_table",
    "machine_differences",
    "network_features",
    "network_ms",
    "readings_needed",
    "readings_path",
    "require_fit",
    "require_readings",
    "save_table",
    "solve_nonnegative",
    "table_differences",
    "table_from_json",
    "uncrowded_ms",
]
