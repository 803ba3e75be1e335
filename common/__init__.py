"""What every room stands on: errors and exit codes, quantities with units, safe files, strict decoding."""

from fednas.common.collector import collector_paused
from fednas.common.decoding import convert, decode_json, decode_toml, encode_json, load_json, load_toml
from fednas.common.errors import ContractError, ExitCode, FednasError
from fednas.common.extras import import_extra
from fednas.common.files import file_errors, make_folder, read_bytes, read_text, replacing, sha256_of, write_atomic
from fednas.common.names import unknown_name
from fednas.common.progress import Progress, silent
from fednas.common.quantities import (
    column_latency,
    format_bytes,
    format_count,
    format_latency_ms,
    parse_bytes,
    parse_count,
    parse_latency_ms,
    parse_share,
)
from fednas.common.signals import AskedToEnd, ending_signals_raise
from fednas.common.versions import PlainText, UtcTime, decode_versioned, require_schema

__all__ = [
    "AskedToEnd",
    "ContractError",
    "ExitCode",
    "FednasError",
    "PlainText",
    "Progress",
    "UtcTime",
    "collector_paused",
    "column_latency",
    "convert",
    "decode_json",
    "decode_toml",
    "decode_versioned",
    "encode_json",
    "ending_signals_raise",
    "file_errors",
    "format_bytes",
    "format_count",
    "format_latency_ms",
    "import_extra",
    "load_json",
    "load_toml",
    "make_folder",
    "parse_bytes",
    "parse_count",
    "parse_latency_ms",
    "parse_share",
    "read_bytes",
    "read_text",
    "replacing",
    "require_schema",
    "sha256_of",
    "silent",
    "unknown_name",
    "write_atomic",
]
