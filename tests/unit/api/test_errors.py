"""api.errors: the table is whole, and details travel as google.rpc says."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest
from google.rpc import error_details_pb2

from eyasd.api.errors import CODES, DETAILS_KEY, PUSHBACK_KEY, code_of, status_of, status_of_reason, trailers_of
from eyasd.core import errors
from eyasd.core.errors import EyasError, InvalidArgument, ModelNotFound, Overloaded, QuotaExceeded


@pytest.mark.parametrize("error", [error for error in errors.all_errors() if error is not EyasError])
def test_every_error_has_a_code(error: type[EyasError]) -> None:
    assert code_of(error) not in {grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN}


def test_the_root_is_never_raised_so_it_has_no_code() -> None:
    assert EyasError not in CODES


def test_an_error_says_its_reason_and_values() -> None:
    status = status_of(ModelNotFound("There is no model 'x'.", model="x"))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, status.message) == (grpc.StatusCode.NOT_FOUND.value[0], "There is no model 'x'.")
    assert (info.reason, info.domain, dict(info.metadata)) == ("MODEL_NOT_FOUND", "eyas", {"model": "x"})


def test_a_bad_value_names_its_field() -> None:
    request = error_details_pb2.BadRequest()
    assert status_of(InvalidArgument("spec.dropout", "dropout is 2.")).details[1].Unpack(request)
    assert [(v.field, v.description) for v in request.field_violations] == [("spec.dropout", "dropout is 2.")]


def test_a_sentence_is_no_longer_than_a_client_takes_and_tells_no_credential_that_it_is_cut_in() -> None:
    secret = "https://user:" + "hunter2" * 1_000 + "@host/"
    status = status_of(InvalidArgument("dataset", f"{secret} {'x' * 10_000_000}"))
    assert len(status.message) == 1_000
    for before in (0, 900, 3_000):
        assert "hunter2" not in status_of(InvalidArgument("dataset", "x" * before + " https://user:hunter2@host/")).message
    assert sum(len(value) for _, value in trailers_of(status)) < 6_000
    for size in (2_000, 20_000):  # what to do is at the end
        message = status_of(InvalidArgument("name", f"The name {size * 'x'} is too long: choose a shorter one.")).message
        assert (len(message), message[:12], message[-31:]) == (1_000, "The name xxx", "too long: choose a shorter one.")


def test_overload_says_when_to_come_back() -> None:
    retry = error_details_pb2.RetryInfo()
    assert status_of(Overloaded("full", timedelta(milliseconds=250))).details[1].Unpack(retry)
    assert retry.retry_delay.ToTimedelta() == timedelta(milliseconds=250)


def test_a_quota_says_whose_it_is() -> None:
    quota = error_details_pb2.QuotaFailure()
    assert status_of(QuotaExceeded("2 jobs of ann are queued.", owner="ann")).details[1].Unpack(quota)
    assert [(v.subject, v.description) for v in quota.violations] == [("ann", "2 jobs of ann are queued.")]


def test_what_grpc_repeats_by_itself_comes_back_then_and_not_all_at_once() -> None:
    status = status_of(Overloaded("full", timedelta(milliseconds=200)))
    told = [dict(trailers_of(status)) for _ in range(50)]
    assert {trailers[DETAILS_KEY] for trailers in told} == {status.SerializeToString()}
    pauses = {int(trailers[PUSHBACK_KEY]) for trailers in told}
    assert min(pauses) >= 200
    assert max(pauses) <= 300
    assert len(pauses) > 10
    assert PUSHBACK_KEY not in dict(trailers_of(status_of(ModelNotFound("There is no model 'x'.", model="x"))))


@pytest.mark.parametrize(
    ("reason", "code"), [("BAD_DATASET", grpc.StatusCode.FAILED_PRECONDITION), ("FROM_THE_FUTURE", grpc.StatusCode.INTERNAL)]
)
def test_a_kept_error_gets_its_code_back(reason: str, code: grpc.StatusCode) -> None:
    assert status_of_reason(reason, "m").code == code.value[0]
