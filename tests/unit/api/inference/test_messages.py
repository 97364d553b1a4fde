"""api.inference.messages: what is in our pool is what the protocol's own client has in the default one."""

from __future__ import annotations

from typing import Any

from tritonclient.grpc import model_config_pb2, service_pb2

from eyasd.api.inference.messages import POOL, SERVICE


def test_names_numbers_and_types_are_the_protocols() -> None:
    theirs = {**service_pb2.DESCRIPTOR.message_types_by_name, **model_config_pb2.DESCRIPTOR.message_types_by_name}
    compared = 0

    def compare(ours: Any, other: Any) -> None:
        nonlocal compared
        for field in ours.fields:
            same = other.fields_by_name[field.name]
            assert (field.number, field.type, field.is_repeated) == (same.number, same.type, same.is_repeated), field.full_name
            oneof = field.containing_oneof.name if field.containing_oneof else None
            assert oneof == (same.containing_oneof.name if same.containing_oneof else None)
            if field.message_type:
                assert field.message_type.full_name == same.message_type.full_name
            compared += 1
        for nested in ours.nested_types:
            compare(nested, other.nested_types_by_name[nested.name])

    for name in ("inference/service.proto", "inference/model_config.proto"):
        file = POOL.FindFileByName(name)
        for message in file.message_types_by_name.values():
            compare(message, theirs[message.name])
        for enum in file.enum_types_by_name.values():
            other = model_config_pb2.DESCRIPTOR.enum_types_by_name[enum.name].values_by_name
            assert all(value.number == other[value.name].number for value in enum.values)
    methods = service_pb2.DESCRIPTOR.services_by_name[SERVICE.name].methods_by_name
    for method in SERVICE.methods:
        same = methods[method.name]
        assert method.input_type.full_name == same.input_type.full_name
        assert method.output_type.full_name == same.output_type.full_name
        assert (method.client_streaming, method.server_streaming) == (same.client_streaming, same.server_streaming)
    assert compared > 90
