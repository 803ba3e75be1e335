"""From a torch module to artefacts that ship, with proof; knows nothing of search spaces."""

from fednas.export.board_script import BUILD_SCRIPT, BatchRange, build_script
from fednas.export.evidence import (
    TOLERANCES,
    Accuracy,
    ArtefactEvidence,
    Parity,
    Tolerance,
    accuracy_of_logits,
    accuracy_with_interval,
    compare_logits,
    tolerance_for,
    verify_artefact,
)
from fednas.export.folder import read_manifest, shipped_path, staged_folder
from fednas.export.manifest import (
    MANIFEST_FILE,
    Budget,
    Build,
    Dataset,
    Device,
    Latency,
    Manifest,
    MeasuredLatency,
    Model,
    PredictedLatency,
    Recalibration,
    Search,
    Shipment,
    ShippedFile,
    Supernet,
    Table,
    TestVectors,
    build_record,
)
from fednas.export.onnx_export import EXPECTED_OPS, OPSETS, onnx_from_module
from fednas.export.onnx_file import ModelMetadata, OnnxFile, read_onnx_file
from fednas.export.preprocessing import Preprocessing
from fednas.export.report import Report
from fednas.export.runners import OrtRunner, Runner
from fednas.export.shipping import model_file_name, write_contents
from fednas.export.tensorrt_engine import EngineFile, EngineOptions, engine_from_onnx
from fednas.export.tensorrt_status import TensorRTStatus, tensorrt_status
from fednas.export.test_vectors import Vectors, random_inputs, unlabelled
from fednas.export.verification import Check, VerificationReport, find_shipped_folders, verify_folder

__all__ = [
    "BUILD_SCRIPT",
    "EXPECTED_OPS",
    "MANIFEST_FILE",
    "OPSETS",
    "TOLERANCES",
    "Accuracy",
    "ArtefactEvidence",
    "BatchRange",
    "Budget",
    "Build",
    "Check",
    "Dataset",
    "Device",
    "EngineFile",
    "EngineOptions",
    "Latency",
    "Manifest",
    "MeasuredLatency",
    "Model",
    "ModelMetadata",
    "OnnxFile",
    "OrtRunner",
    "Parity",
    "PredictedLatency",
    "Preprocessing",
    "Recalibration",
    "Report",
    "Runner",
    "Search",
    "Shipment",
    "ShippedFile",
    "Supernet",
    "Table",
    "TensorRTStatus",
    "TestVectors",
    "Tolerance",
    "Vectors",
    "VerificationReport",
    "accuracy_of_logits",
    "accuracy_with_interval",
    "build_record",
    "build_script",
    "compare_logits",
    "engine_from_onnx",
    "find_shipped_folders",
    "model_file_name",
    "onnx_from_module",
    "random_inputs",
    "read_manifest",
    "read_onnx_file",
    "shipped_path",
    "staged_folder",
    "tensorrt_status",
    "tolerance_for",
    "unlabelled",
    "verify_artefact",
    "verify_folder",
    "write_contents",
]
