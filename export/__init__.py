"""From a torch module to artefacts that ship, with proof; knows nothing of search spaces."""

from fednas.export.board_import import folder_of_board_result, import_board_result
from fednas.export.board_kit import BOARD_SCRIPT, board_script
from fednas.export.board_record import BoardRecord
from fednas.export.board_result import BoardResult, read_board_result
from fednas.export.build import Build, build_record
from fednas.export.calibration import (
    Calibration,
    CalibrationImages,
    HeldOutImages,
    choose_calibration_images,
    held_out_images,
)
from fednas.export.census import Census, KeptLayer, LayerCount, take_census
from fednas.export.comparison import told_apart, why_not_measured
from fednas.export.converted_model import ConvertedModel, FailedArtefact, convert_and_prove, nothing_left_if_it_fails
from fednas.export.engine_options import BatchRange
from fednas.export.engine_record import EngineLatency, EngineLayers, EngineRecord, layer_faults
from fednas.export.evidence import (
    TOLERANCES,
    Accuracy,
    ArtefactEvidence,
    Parity,
    Precision,
    Tolerance,
    accuracy_of_logits,
    accuracy_with_interval,
    compare_logits,
    judge_logits,
    tolerance_for,
    verify_artefact,
)
from fednas.export.fewest_images import images_enough_for, percent_rounded_up, range_of_smallest_limits
from fednas.export.fleet import FleetIndex, check_index, place_of, refresh_index, require_renewable_index, staged_fleet
from fednas.export.folder import read_manifest, shipped_path, staged_folder
from fednas.export.illustrations import Frontier, FrontierPoint, Illustrations, choose_examples
from fednas.export.latency_record import Latency, MeasuredLatency, PredictedLatency, Table
from fednas.export.manifest import (
    MANIFEST_FILE,
    Budget,
    Candidate,
    Dataset,
    Device,
    Manifest,
    Model,
    NextBetter,
    Recalibration,
    Search,
    Shipment,
    ShippedFile,
    Supernet,
    TestVectors,
    judged_model,
    kept_products,
)
from fednas.export.mixed_int8 import LayerSensitivity, MixedInt8, choose_float_layers
from fednas.export.model_card import CardDetails, read_card_details
from fednas.export.onnx_export import EXPECTED_OPS, OPSETS, onnx_from_module
from fednas.export.onnx_file import ModelMetadata, OnnxFile, read_onnx_file
from fednas.export.outcome import Outcome
from fednas.export.paired_drop import PairedDrop
from fednas.export.precision_fp16 import FP16_METHOD, fp16_from_onnx
from fednas.export.precision_int8 import INT8_METHOD, Int8Graph, int8_from_onnx
from fednas.export.preprocessing import InputType, ModelInput, Preprocessing
from fednas.export.report import Report
from fednas.export.runners import OrtRunner, Runner
from fednas.export.runners_ncnn import NcnnRunner
from fednas.export.runners_openvino import OpenVinoRunner
from fednas.export.runtime_files import (
    RUNTIME_PRECISIONS,
    RuntimeFiles,
    require_runtime_installed,
    require_runtime_takes,
    runner_for,
    runtime_files_from_onnx,
)
from fednas.export.shipping import model_file_name, write_contents
from fednas.export.tensorrt_engine import EngineFile, EngineOptions, engine_from_onnx
from fednas.export.tensorrt_runner import TensorRTRunner
from fednas.export.tensorrt_status import TensorRTStatus, tensorrt_status
from fednas.export.test_vectors import Vectors, random_inputs, unlabelled
from fednas.export.uint8_input import fold_preprocessing
from fednas.export.verification import Check, VerificationReport, find_shipped_folders, verify_folder

__all__ = [
    "BOARD_SCRIPT",
    "EXPECTED_OPS",
    "FP16_METHOD",
    "INT8_METHOD",
    "MANIFEST_FILE",
    "OPSETS",
    "RUNTIME_PRECISIONS",
    "TOLERANCES",
    "Accuracy",
    "ArtefactEvidence",
    "BatchRange",
    "BoardRecord",
    "BoardResult",
    "Budget",
    "Build",
    "Calibration",
    "CalibrationImages",
    "Candidate",
    "CardDetails",
    "Census",
    "Check",
    "ConvertedModel",
    "Dataset",
    "Device",
    "EngineFile",
    "EngineLatency",
    "EngineLayers",
    "EngineOptions",
    "EngineRecord",
    "FailedArtefact",
    "FleetIndex",
    "Frontier",
    "FrontierPoint",
    "HeldOutImages",
    "Illustrations",
    "InputType",
    "Int8Graph",
    "KeptLayer",
    "Latency",
    "LayerCount",
    "LayerSensitivity",
    "Manifest",
    "MeasuredLatency",
    "MixedInt8",
    "Model",
    "ModelInput",
    "ModelMetadata",
    "NcnnRunner",
    "NextBetter",
    "OnnxFile",
    "OpenVinoRunner",
    "OrtRunner",
    "Outcome",
    "PairedDrop",
    "Parity",
    "Precision",
    "PredictedLatency",
    "Preprocessing",
    "Recalibration",
    "Report",
    "Runner",
    "RuntimeFiles",
    "Search",
    "Shipment",
    "ShippedFile",
    "Supernet",
    "Table",
    "TensorRTRunner",
    "TensorRTStatus",
    "TestVectors",
    "Tolerance",
    "Vectors",
    "VerificationReport",
    "accuracy_of_logits",
    "accuracy_with_interval",
    "board_script",
    "build_record",
    "check_index",
    "choose_calibration_images",
    "choose_examples",
    "choose_float_layers",
    "compare_logits",
    "convert_and_prove",
    "engine_from_onnx",
    "find_shipped_folders",
    "fold_preprocessing",
    "folder_of_board_result",
    "fp16_from_onnx",
    "held_out_images",
    "images_enough_for",
    "import_board_result",
    "int8_from_onnx",
    "judge_logits",
    "judged_model",
    "kept_products",
    "layer_faults",
    "model_file_name",
    "nothing_left_if_it_fails",
    "onnx_from_module",
    "percent_rounded_up",
    "place_of",
    "random_inputs",
    "range_of_smallest_limits",
    "read_board_result",
    "read_card_details",
    "read_manifest",
    "read_onnx_file",
    "refresh_index",
    "require_renewable_index",
    "require_runtime_installed",
    "require_runtime_takes",
    "runner_for",
    "runtime_files_from_onnx",
    "shipped_path",
    "staged_fleet",
    "staged_folder",
    "take_census",
    "tensorrt_status",
    "told_apart",
    "tolerance_for",
    "unlabelled",
    "verify_artefact",
    "verify_folder",
    "why_not_measured",
    "write_contents",
]
