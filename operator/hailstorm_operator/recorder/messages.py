"""
The few fields of Envoy's access log messages that are read, and no others.

Stubs of Envoy's whole API are 2,000 generated files and take seconds to import.
A message here has the numbers of the fields of its namesake and leaves the rest
out; protobuf skips what it does not know. The numbers are Envoy's stable v3 API:
https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/data/accesslog/v3/accesslog.proto
"""

from typing import Any, Final

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
    timestamp_pb2,
    wrappers_pb2,
)

SERVICE: Final = "envoy.service.accesslog.v3.AccessLogService"
METHOD: Final = "StreamAccessLogs"

# Not Envoy's package, so that a process which holds the real stubs can hold these too.
_PACKAGE: Final = "hailstorm.recorder.envoy"
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "string": _Field.TYPE_STRING,
    "bool": _Field.TYPE_BOOL,
    "uint32": _Field.TYPE_UINT32,
}
_WELL_KNOWN: Final = {
    "Timestamp": ".google.protobuf.Timestamp",
    "Duration": ".google.protobuf.Duration",
    "UInt32Value": ".google.protobuf.UInt32Value",
}
# The flags in the order in which they explain a failure: what the pod or the way
# to it did comes before what Envoy made of it. The short names are Envoy's.
FLAGS: Final = {
    "UF": ("upstream_connection_failure", 6),
    "UC": ("upstream_connection_termination", 7),
    "UR": ("upstream_remote_reset", 5),
    "UPE": ("upstream_protocol_error", 24),
    "UH": ("no_healthy_upstream", 2),
    "UO": ("upstream_overflow", 8),
    "UMSDR": ("upstream_max_stream_duration_reached", 20),
    "UT": ("upstream_request_timeout", 3),
    "DT": ("duration_timeout", 23),
    "SI": ("stream_idle_timeout", 17),
    "OM": ("overload_manager", 26),
    "DF": ("dns_resolution_failure", 27),
    "NC": ("no_cluster_found", 25),
    "LR": ("local_reset", 4),
    "URX": ("upstream_retry_limit_exceeded", 16),
    "RL": ("rate_limited", 12),
    "DPE": ("downstream_protocol_error", 19),
    "DC": ("downstream_connection_termination", 15),
    "DR": ("downstream_remote_reset", 28),
    "NR": ("no_route_found", 9),
}
# name -> (number, type); "*" repeats, "map" is a map of strings.
_MESSAGES: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "SocketAddress": {"address": (2, "string"), "port_value": (3, "uint32")},
    "Address": {"socket_address": (1, "SocketAddress")},
    "ResponseFlags": {name: (number, "bool") for name, number in FLAGS.values()},
    "Common": {
        "start_time": (5, "Timestamp"),
        "upstream_remote_address": (13, "Address"),
        "upstream_cluster": (15, "string"),
        "response_flags": (16, "ResponseFlags"),
        "upstream_transport_failure_reason": (18, "string"),
        "route_name": (19, "string"),
        "duration": (23, "Duration"),
        "upstream_request_attempt_count": (24, "uint32"),
    },
    "Request": {
        "path": (5, "string"),
        "request_id": (9, "string"),
        "request_headers": (13, "map"),
    },
    "Response": {
        "response_code": (1, "UInt32Value"),
        "response_headers": (4, "map"),
        "response_trailers": (5, "map"),
        "response_code_details": (6, "string"),
    },
    "Entry": {
        "common_properties": (1, "Common"),
        "request": (3, "Request"),
        "response": (4, "Response"),
    },
    "Entries": {"log_entry": (1, "*Entry")},
    "Node": {"id": (1, "string")},
    "Identifier": {"node": (1, "Node"), "log_name": (2, "string")},
    "Message": {"identifier": (1, "Identifier"), "http_logs": (2, "Entries")},
}


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    repeated = kind == "map" or kind.startswith("*")
    field = message.field.add(
        name=name,
        number=number,
        label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
    )
    kind = kind.removeprefix("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = _Field.TYPE_MESSAGE
    if kind == "map":
        entry = "".join(part.title() for part in name.split("_")) + "Entry"
        nested = message.nested_type.add(name=entry)
        nested.options.map_entry = True
        _add_field(nested, "key", 1, "string")
        _add_field(nested, "value", 2, "string")
        field.type_name = f".{_PACKAGE}.{message.name}.{entry}"
    else:
        field.type_name = _WELL_KNOWN.get(kind, f".{_PACKAGE}.{kind}")


def _message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="hailstorm_recorder_envoy.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[
            module.DESCRIPTOR.name for module in (duration_pb2, timestamp_pb2, wrappers_pb2)
        ],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Message"))


Message: Final = _message_class()
"""StreamAccessLogsMessage, as far as it is read: `Message.FromString(bytes)`."""
