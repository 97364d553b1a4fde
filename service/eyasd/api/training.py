"""TrainingService and JobService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from eyas.v1 import evaluation_pb2, job_pb2, job_service_pb2, job_service_pb2_grpc, training_service_pb2, training_service_pb2_grpc
from eyasd.access.roles import EVERY_MODEL, Role
from eyasd.api import paging
from eyasd.api.asking import caller_of
from eyasd.api.gate import caller
from eyasd.api.messages.jobs import event_message, job_message, job_priority
from eyasd.api.messages.specification import train_spec
from eyasd.core.answers import Split
from eyasd.core.errors import InvalidArgument, JobNotFound
from eyasd.core.jobs import Job
from eyasd.core.names import ModelRef, check_identifier, check_text, parse_job, parse_model, parse_model_ref
from eyasd.core.spec import InspectionSpec
from eyasd.jobs.intake import Intake
from eyasd.jobs.ledger import Ledger
from eyasd.jobs.outlook import Outlook
from eyasd.jobs.permits import Permits

_TRAIN = frozenset({Role.TRAIN})
_MAX_REQUEST_ID = 64
_MOST_OTHERS = 9
_MOST_LINES = 1000
_LAST_LINE = 10**12  # a number within reach of a program that writes, and far from those that no database keeps
REPORT_PROGRESS = "/eyas.v1.JobService/ReportProgress"


class TrainingService(training_service_pb2_grpc.TrainingServiceServicer):
    """See protos/eyas/v1/training_service.proto."""

    def __init__(self, intake: Intake, outlook: Outlook) -> None:
        self._intake = intake
        self._outlook = outlook

    async def Train(self, request: training_service_pb2.TrainRequest, context: Any) -> training_service_pb2.TrainResponse:  # noqa: N802 - gRPC's form
        """Accepts a training."""
        job = await self._intake.train(
            model=parse_model(request.model, "model"),
            dataset=request.dataset,
            spec=train_spec(request.spec),
            alias=check_identifier(request.alias, "alias", "an alias") if request.alias else None,
            request_id=_request_id(request.request_id),
            base=parse_model_ref(request.base_version, "base_version") if request.base_version else None,
            priority=job_priority(request.priority),
            owner=caller_of(context),
            principal=caller().identity.principal,
        )
        return training_service_pb2.TrainResponse(job=job_message(job, await self._outlook.of(job)))

    async def Evaluate(  # noqa: N802 - gRPC's form
        self,
        request: training_service_pb2.EvaluateRequest,
        context: Any,
    ) -> training_service_pb2.EvaluateResponse:
        """Accepts an evaluation."""
        job = await self._intake.evaluate(
            ref=parse_model_ref(request.model, "model"),
            dataset=request.dataset,
            request_id=_request_id(request.request_id),
            others=_other_models(request.other_models),
            split=_split(request.split),
            owner=caller_of(context),
            principal=caller().identity.principal,
        )
        return training_service_pb2.EvaluateResponse(job=job_message(job, await self._outlook.of(job)))

    async def InspectDataset(  # noqa: N802 - gRPC's form
        self,
        request: training_service_pb2.InspectDatasetRequest,
        context: Any,
    ) -> training_service_pb2.InspectDatasetResponse:
        """Accepts an inspection."""
        job = await self._intake.inspect(
            dataset=request.dataset,
            spec=InspectionSpec(request.backbone or None, request.seed),
            request_id=_request_id(request.request_id),
            retraced=parse_model_ref(request.version, "version") if request.version else None,
            owner=caller_of(context),
            principal=caller().identity.principal,
        )
        return training_service_pb2.InspectDatasetResponse(job=job_message(job, await self._outlook.of(job)))


class JobService(job_service_pb2_grpc.JobServiceServicer):
    """See protos/eyas/v1/job_service.proto."""

    def __init__(self, ledger: Ledger, outlook: Outlook, permits: Permits) -> None:
        self._ledger = ledger
        self._outlook = outlook
        self._permits = permits

    async def ReportProgress(  # noqa: N802 - gRPC's form
        self, requests: AsyncIterator[job_service_pb2.ReportProgressRequest], context: Any
    ) -> AsyncIterator[job_service_pb2.ReportProgressResponse]:
        """Takes down what a training program says, and answers each request with what is wanted of it."""
        token = str(dict(context.invocation_metadata()).get("authorization", "")).removeprefix("Bearer ")
        job, attempt = self._permits.read(token) or ("", 0)  # whoever has none was not let in
        async for request in requests:
            if len(request.lines) > _MOST_LINES or not bool(request.lines) <= request.first <= _LAST_LINE:
                raise InvalidArgument(
                    "lines",
                    f"{len(request.lines)} lines from number {request.first}: send at most {_MOST_LINES}, counted from 1 to "
                    f"{_LAST_LINE:,}.",
                )
            stored, stop = await self._ledger.report(job, attempt, request.first, request.lines)
            yield job_service_pb2.ReportProgressResponse(stored=stored, stop=stop)

    async def GetJob(self, request: job_service_pb2.GetJobRequest, context: Any) -> job_service_pb2.GetJobResponse:  # noqa: N802, ARG002
        """Returns a job."""
        return job_service_pb2.GetJobResponse(job=await self._message(await self._ledger.get(await self._named(request.name))))

    async def ListJobs(self, request: job_service_pb2.ListJobsRequest, context: Any) -> job_service_pb2.ListJobsResponse:  # noqa: N802, ARG002
        """Lists jobs, newest first."""
        before = paging.decode_number(request.page_token)
        jobs, following = await self._ledger.page(before, paging.page_size(request.page_size))
        token = paging.encode_token(str(following) if following is not None else None)
        return job_service_pb2.ListJobsResponse(
            jobs=[await self._message(job) for job in jobs if _is_shown(job)], next_page_token=token
        )

    async def WatchJob(  # noqa: N802
        self,
        request: job_service_pb2.WatchJobRequest,
        context: Any,
    ) -> AsyncIterator[job_service_pb2.WatchJobResponse]:
        """Streams a job's updates."""
        job = await self._named(request.name)
        await context.send_initial_metadata(())  # tells the caller that it is heard, though there may be no news for long
        async for event in self._ledger.watch(job, request.from_sequence):
            yield event_message(event, await self._outlook.of(event.job) if event.job else None)

    async def CancelJob(self, request: job_service_pb2.CancelJobRequest, context: Any) -> job_service_pb2.CancelJobResponse:  # noqa: N802, ARG002
        """Asks a job to end."""
        return job_service_pb2.CancelJobResponse(job=job_message(await self._ledger.cancel(await self._named(request.name))))

    async def PauseJob(self, request: job_service_pb2.PauseJobRequest, context: Any) -> job_service_pb2.PauseJobResponse:  # noqa: N802, ARG002
        """Asks a job to wait until it is resumed."""
        paused = await self._ledger.pause(await self._named(request.name))
        return job_service_pb2.PauseJobResponse(job=await self._message(paused))

    async def ResumeJob(self, request: job_service_pb2.ResumeJobRequest, context: Any) -> job_service_pb2.ResumeJobResponse:  # noqa: N802, ARG002
        """Queues an interrupted job."""
        return job_service_pb2.ResumeJobResponse(
            job=await self._message(await self._ledger.resume(await self._named(request.name)))
        )

    async def _named(self, name: str) -> str:
        """Returns the job of a name. Raises InvalidArgument, and JobNotFound also where it is of a model of others."""
        job = parse_job(name, "name")
        if not caller().may(_TRAIN, EVERY_MODEL) and not _is_shown(await self._ledger.get(job)):
            raise JobNotFound(job)
        return job

    async def _message(self, job: Job) -> job_pb2.Job:
        return job_message(job, await self._outlook.of(job))


def _is_shown(job: Job) -> bool:
    """Returns whether the caller may know of a job."""
    return not job.model or caller().may(_TRAIN, job.model)


def _other_models(names: Sequence[str]) -> tuple[ModelRef, ...]:
    if len(names) > _MOST_OTHERS:
        raise InvalidArgument("other_models", f"other_models has {len(names)} names; at most {_MOST_OTHERS} are measured at once.")
    return tuple(parse_model_ref(name, "other_models") for name in names)


def _split(number: int) -> Split | None:
    if number not in evaluation_pb2.Split.values():
        raise InvalidArgument("split", f"{number} is not a split: use one of {', '.join(Split)}.")
    return Split(evaluation_pb2.Split.Name(number).removeprefix("SPLIT_").lower()) if number else None


def _request_id(text: str) -> str | None:
    if len(text) > _MAX_REQUEST_ID:
        raise InvalidArgument("request_id", f"request_id has {len(text)} characters; at most {_MAX_REQUEST_ID} are allowed.")
    return check_text(text, "request_id") or None
