"""What can be set: one model a room, which receives its own and never reads the environment.

Every field's docstring is what `eyasd config` prints beside it. `forms` says what a value may look like, `config` where it comes
from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from eyasd.core.device import Device, Optimize, Transport
from eyasd.core.variants import Precision
from eyasd.forms import (
    Address,
    Algorithm,
    Endpoint,
    Experiment,
    FeedbackKeys,
    JwtKeys,
    Roles,
    Root,
    StoreAddress,
    Token,
    TrackingServer,
)
from eyasd.telemetry.logging import LogFormat


class _Room(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class ApiSettings(_Room):
    """The gRPC face."""

    listen: Address = "127.0.0.1:50051"
    """Address and port of the gRPC server. Other machines reach it only on another address than 127.0.0.1."""
    insecure: bool = False
    """Whether to listen beyond this machine even where no credential is set, so that whoever reaches the port may do anything."""
    http_listen: Address | None = None
    """Address and port of the HTTP/JSON door, with the same token and certificate; unset is none. Needs the extra `http`."""
    tls_certificate: Path | None = None
    """PEM file of the server's certificate chain. Set together with tls_key; both unset is plain text."""
    tls_key: Path | None = None
    """PEM file of the certificate's private key."""
    tls_client_ca: Path | None = None
    """PEM file of the authorities of clients' certificates. If set, each connection must show one that they have signed."""
    token: Token = None
    """One token that opens every method, sent as `authorization: Bearer TOKEN`; `access` has tokens of callers each."""
    reflection: bool = True
    """Whether tools such as grpcurl can list the services."""
    default_deadline_seconds: float = Field(default=30.0, gt=0, le=3600)
    """Deadline of a Classify call that came without one."""
    connection_age_seconds: float = Field(default=300.0, ge=0.1, le=86_400)
    """How old a connection becomes before its client has to make another, which may lead to another server."""
    connections: int = Field(default=1024, ge=1, le=1_000_000)
    """Most connections to each of the two doors; one beyond them is closed as it comes. Each acceptor has its part."""
    window_bytes: int = Field(default=512 * 1024, ge=65_536, le=16 * 1024 * 1024)
    """How much of each call, 2,048 at most, comes unasked; for each further such piece callers wait a round trip."""
    arriving_messages: int = Field(default=0, ge=0, le=4096)
    """Most messages of calls and HTTP bodies, of 32 MiB each, that come at once; others wait. 0 is 32, or what memory allows."""
    arrival_seconds: float = Field(default=30.0, gt=0, le=3600)
    """How long a message may wait until it can be taken, and then take to come whole."""
    streams: int = Field(default=0, ge=0, le=65_536)
    """Most streams of requests that are open, in each of which 32 MiB may be coming. 0 is 128, or what memory allows."""
    stream_images: int = Field(default=32, ge=1, le=1024)
    """Pictures of one ClassifyStream that have been read and are not answered yet; beyond them, or 16 MiB, it is not read."""
    stream_idle_seconds: float = Field(default=60.0, gt=0, le=3600)
    """How long a stream of requests may be silent, or leave an answer untaken, before it is ended."""
    lame_duck_seconds: float = Field(default=1.0, ge=0, le=300)
    """After SIGTERM: how long new calls are still answered while health checks already say NOT_SERVING."""
    grace_seconds: float = Field(default=20.0, ge=0, le=600)
    """After that: how long calls in flight may take to finish."""


class AccessSettings(_Room):
    """Who may do what. Once any credential is set, here or `api.token`, every call but health checks has to show one."""

    tokens: Path | None = None
    """File of the digests of tokens, or folder of such files, as a mounted Secret is; `eyasd token` writes its lines."""
    certificates: dict[str, Roles] = {}
    """Roles of names in clients' certificates, `{"*.shop.internal" = "classify:clothing*,feedback"}`; see api.tls_client_ca."""
    jwt_issuer: str = ""
    """`iss` of the JSON web tokens that are taken; empty is none. Needs the extra `jwt`."""
    jwt_audience: str = ""
    """`aud` that they must have."""
    jwt_keys: JwtKeys = ""
    """Their issuer's public keys, a JWKS: a file, or https://HOST/PATH."""
    jwt_algorithms: tuple[Algorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    """Algorithms of signatures that are taken."""
    jwt_leeway_seconds: float = Field(default=30.0, ge=0, le=600)
    """By how much the issuer's clock may differ."""
    jwt_subject_claim: str = Field(default="sub", min_length=1)
    """Claim with the caller's name."""
    jwt_roles_claim: str = Field(default="roles", min_length=1)
    """Claim with his roles, a list or words; `realm_access.roles` is one within another."""
    jwt_roles: dict[str, Roles] = {}
    """What a value of that claim is worth, `{"eyas-users" = "classify"}`; any other is worth nothing."""
    audit_file: Path | None = None
    """File to which every change is added, beside the log; where it cannot be written, nothing is changed."""
    images_per_second: float = Field(default=0.0, ge=0)
    """Most pictures a second that one caller has classified, each acceptor its share; 0 is no bound."""
    burst_images: int = Field(default=0, ge=0)
    """Most of them at once, after a rest; 0 is those of 10 seconds."""
    calls_per_second: float = Field(default=0.0, ge=0)
    """Most other calls a second of one caller, each acceptor its share, and those of 10 seconds at once; 0 is no bound."""


class RegistrySettings(_Room):
    """The model repository."""

    url: StoreAddress | None = None
    """Where it is: file:///DIR, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX; unset is models/ in data_dir."""
    cache_dir: Path | None = None
    """Folder in which servers keep files of versions, by SHA-256; several may share it. Unset, each start fetches them anew."""
    cache_bytes: int = Field(default=10_000_000_000, ge=0)
    """Most that these may take, in bytes; what was not used for longest goes first."""
    keep_days: float = Field(default=30.0, ge=0, le=36_500)
    """How long a version cannot be deleted after the last alias has left it, so that a rollback finds it."""


class DatasetsSettings(_Room):
    """Datasets that clients upload."""

    url: StoreAddress | None = None
    """Where they are, as registry.url; unset is datasets/ in data_dir, and beside the models where these have a registry.url."""
    max_bytes: int = Field(default=200_000_000_000, ge=0)
    """Most that all of them may take, in bytes, files that several hold alike counted once; 0 takes no uploads."""
    max_dataset_bytes: int = Field(default=100_000_000_000, ge=1)
    """Most that the files of one of them may have together, in bytes."""
    max_files: int = Field(default=2_000_000, ge=1, le=100_000_000)
    """Most files of one of them."""
    quota_bytes: int = Field(default=0, ge=0)
    """Most that the datasets of one caller may take, and what he has sent for others, in bytes; 0 is no bound."""
    keep_days: float = Field(default=7.0, gt=0, le=36_500)
    """How long files are kept that no dataset names, of an upload that has not ended, so that it can go on."""


class CaptureSettings(_Room):
    """Pictures of production that are kept to learn from, of models that `eyas capture` says so of; of others none is."""

    url: StoreAddress | None = None
    """Where they are, as registry.url; unset is captured/ in data_dir, and beside the models where these have a registry.url."""
    redact: str = Field(default="", pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_]\w*)?$")
    """`package.module:function` that is given the bytes of each and returns what is kept of it, or None to keep nothing."""
    max_bytes: int = Field(default=2_000_000_000, ge=0)
    """Most that those of one model may take, in bytes; the least instructive go first."""
    hourly_images: int = Field(default=120, ge=1, le=100_000)
    """Most that a server keeps for one reason, of one model, in an hour; the most instructive of each moment, if there are more."""
    window_seconds: float = Field(default=10.0, gt=0, le=3600)
    """The length of such a moment: of each a handful is kept, of one model for one reason."""
    memory_bytes: int = Field(default=64_000_000, ge=0)
    """Most memory for those that were just answered, so that one which is reported wrong within minutes can still be kept."""


class ServingSettings(_Room):
    """The path from picture to label."""

    device: Device = Device.AUTO
    """`cuda` asserts a GPU, `cpu` never uses one, `auto` asserts one where there is one; `tensorrt` compiles for minutes."""
    gpu_memory_bytes: int = Field(default=0, ge=0)
    """Most that one network may take of a GPU's memory, weights and activations; 0 is no bound."""
    precision: Literal["auto"] | Precision = "auto"
    """`fp32`, or where a version has it `fp16` (CUDA) or `int8` (CPU); `auto` is the quickest, timed when a version is loaded."""
    max_batch_size: int = Field(default=0, ge=0, le=64)
    """Most pictures run through the network at once; 0 is 32 on CUDA, and 8 on the CPU, where more only costs memory."""
    max_delay_ms: float = Field(default=5.0, ge=0, le=1000)
    """Most that a free device waits for a fuller batch; it only does where that shortens the mean time to an answer. 0 never."""
    max_queue_images: int = Field(default=256, ge=1, le=100_000)
    """Pictures in flight beyond which a call is refused with RESOURCE_EXHAUSTED: at half as many if its priority is low."""
    engines: Transport = Transport.PROCESS
    """`process`: each loaded version has a process of its own, which may crash alone; `thread`: all live in this one."""
    decode_processes: int = Field(default=0, ge=0, le=256)
    """Processes that decode callers' pictures, so many at once, and can do nothing else; 0 decodes in threads of the server."""
    decode_limit_seconds: float = Field(default=5.0, ge=0.1, le=600)
    """How long one picture may take such a process before that is ended, and the picture refused."""
    decoder: Literal["cpu", "gpu"] = "cpu"
    """`gpu` decodes with nvJPEG what is not decoded at a part of its size, up to 4 levels off. Needs the extra `gpu-decode`."""
    optimize: Optimize = Optimize.LATENCY
    """`latency`: an engine runs a picture on all cores, up to 8; `throughput`: a version has an engine a core, and their memory."""
    engines_per_version: int = Field(default=0, ge=0, le=64)
    """Engines of each version, which share the cores; 0 is as `optimize` says, and on CUDA one a GPU."""
    acceptors: int = Field(default=0, ge=0, le=64)
    """Processes that take calls and decode, on one port; above 1 in `eyasd server` only. 0 is 1; beside a GPU, 2 for 3 cores."""
    load_limit_seconds: float = Field(default=300.0, ge=1, le=3600)
    """How long a version may take to load before its engine is killed."""
    threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads for decoding, and as many for the network; 0 is one for each core of its affinity and container's quota."""
    poll_interval_seconds: float = Field(default=0.5, ge=0.05, le=60)
    """How often the registry is looked at for new versions and moved aliases."""
    retry_interval_seconds: float = Field(default=30.0, ge=0.1, le=3600)
    """How long after a failed load a version is tried again."""
    memory_bytes: int = Field(default=0, ge=0)
    """Most that loaded versions may take; those that only a request named go for it. 0 is half of the container's, or machine's."""

    cache_bytes: int = Field(default=0, ge=0)
    """Most that answers may take which are kept, so that the same picture is not run twice; 0 keeps none."""
    feedback_key: FeedbackKeys = None
    """Signs prediction ids; of several, with commas, the first signs and all are taken. Unset is one kept in the repository."""
    feedback_days: float = Field(default=30.0, gt=0, le=3650)
    """How long after an answer a report of what would have been right is taken."""


class JobsSettings(_Room):
    """The queue of trainings and evaluations."""

    database: SecretStr | None = None
    """Where the jobs are: `postgresql://user@host/database`, or unset for SQLite in data_dir. Needs the extra `postgres`."""
    report_key: SecretStr | None = Field(default=None, min_length=16)
    """Signs the tokens with which pods report, the same at all trainers of one database; unset is kept in data_dir."""
    max_running: int = Field(default=1, ge=1, le=64)
    """Jobs that run at the same time, if there are GPUs for each; on a laptop one at a time is fastest."""
    max_attempts: int = Field(default=3, ge=1, le=10)
    """How often a job is started in all when its process is lost through no fault of its own."""
    retry_seconds: float = Field(default=10.0, ge=0, le=300)
    """How long a job waits that has been lost twice, or has found its disk full; doubled each time, up to 5 minutes."""
    quota_running: int = Field(default=0, ge=0)
    """Most jobs of one owner (the host, or what `eyas-caller` says) that run at a time, on all trainers together; 0 is no bound."""
    quota_queued: int = Field(default=0, ge=0)
    """Most jobs of one owner that are queued; a further one is refused. 0 is no bound."""
    stop_grace_seconds: float = Field(default=30.0, ge=0, le=600)
    """How long a trainer may take to write a checkpoint and end before it is killed."""
    memory_bytes: int = Field(default=0, ge=0)
    """Most memory that the processes of one job may take together; more ends it, a training the second time. 0 is no bound."""
    time_limit_seconds: float = Field(default=0.0, ge=0)
    """Most that one attempt of a job may run, whatever its budget; it is then ended, and fails. 0 is no bound."""


class TrainingSettings(_Room):
    """What the training program may use."""

    weights: Path | None = None
    """A file of pre-trained weights, or a folder of BACKBONE.safetensors or BACKBONE.pth files; searched first."""
    hub: bool = True
    """Whether pre-trained weights may be downloaded when no file and no installed package has them."""
    processes: int = Field(default=0, ge=0, le=64)
    """Processes that fine-tune together, each with its own GPU or a part of the CPU; 0 is one a GPU, and one without a GPU."""
    cache_dir: Path | None = None
    """Folder of the decoded pictures that jobs share, on a local disk; unset is cache/ in data_dir."""
    cache_bytes: int = Field(default=20_000_000_000, ge=0)
    """Most that these may take, in bytes; what was not used for longest goes first. 0 shares none: each job decodes for itself."""
    data_roots: tuple[Root, ...] = ()
    """Folders and buckets (`s3://photos/team`) that datasets lie below; unset: uploads alone, any if all is this machine's."""
    fetched_dir: Path | None = None
    """Folder of what was fetched from buckets, which jobs share, on a local disk; unset is fetched/ in data_dir."""
    fetched_bytes: int = Field(default=100_000_000_000, ge=1)
    """Most that this may take, in bytes; what was not used for longest goes first. A dataset has to fit into it."""


class KubernetesSettings(_Room):
    """Jobs as Jobs of a Kubernetes cluster, instead of processes beside the trainer. Needs the extra `kubernetes`."""

    image: str | None = None
    """Image of the training program; `own` is that of the trainer's own pod. Unset, jobs are processes beside the trainer."""
    namespace: str | None = None
    """Where the Jobs are made; unset is the trainer's own namespace."""
    api_url: str | None = None
    """API server that needs no token, such as http://127.0.0.1:8001 of `kubectl proxy`; unset is the trainer's own cluster's."""
    volumes: dict[str, str] = {}
    """Persistent volume claims by the path where pods mount them, as the trainer does; without store, data_dir lies in one."""
    store: StoreAddress | None = None
    """Object store, s3://BUCKET/PREFIX, through which pods get their work and give what they made; unset, they share data_dir."""
    trainer: Address | None = None
    """Where pods reach the trainer, such as eyas-trainer.ml:50051; to be set with store."""
    trainer_ca: Path | None = None
    """PEM file of the authority that has signed the trainer's certificate; unset, pods trust those that their image trusts."""
    secrets: list[str] = []
    """Names of the Secrets whose keys are variables of the program, such as AWS_ACCESS_KEY_ID of store."""
    gpus: int = Field(default=1, ge=0, le=1024)
    """GPUs of one training; 0 trains on the CPU."""
    gpus_per_node: int = Field(default=8, ge=1, le=64)
    """Most GPUs that one pod asks for; a training of more has several pods, all alike."""
    gpu_resource: str = "nvidia.com/gpu"
    """What the cluster calls a GPU; "" asks for none, and as many processes as `gpus` says train on the CPU."""
    cpu: str = Field(default="", pattern=r"^(\d+(\.\d+)?|\d+m)?$")
    """Processors that a pod asks for, such as 8 or 500m; "" does not say. Its memory is bounded by jobs.memory_bytes."""
    shared_memory_bytes: int = Field(default=1 << 30, ge=1 << 20)
    """Size of a pod's /dev/shm, which counts as its memory as far as it is used."""
    node_selector: dict[str, str] = {}
    """Labels that a node must have."""
    tolerations: list[dict[str, str | int]] = []
    """Taints of nodes that pods bear, each as Kubernetes has it."""
    service_account: str = ""
    """Service account of the pods, which get no token of it; "" is the namespace's default one."""
    pull_secrets: list[str] = []
    """Names of the Secrets with which the image is pulled."""
    queue: str = ""
    """LocalQueue of Kueue that the Jobs are put into; "" is none."""
    priority_class: str = ""
    """PriorityClass of the pods; "" is the cluster's default."""
    runtime_class: str = ""
    """RuntimeClass of the pods, such as nvidia; "" is the node's default."""
    environment: dict[str, str] = {}
    """Variables of the training program, such as NCCL_SOCKET_IFNAME."""
    user: int = Field(default=1000, ge=1)
    """Numeric user and group that the training program runs as, and that its volumes are to be writable for."""
    keep_seconds: int = Field(default=86_400, ge=60)
    """How long an ended Job stays, to be looked at."""


class MlflowSettings(_Room):
    """Runs, and a registry that mirrors the repository, in MLflow. Needs the extra `mlflow`."""

    url: TrackingServer | None = None
    """Address of the tracking server, such as https://mlflow.example; unset is none."""
    experiment: Experiment = "{model}"
    """Name of the experiment of a job, with {model} and {type} (training, evaluation) in their places."""
    token: SecretStr | None = None
    """Goes with every request, as a bearer's; with a user, it is the user's password."""
    user: SecretStr | None = None
    """User of a server that asks for one."""
    registry: bool = True
    """Whether versions and aliases are shown in MLflow's registry, too."""
    model: bool = False
    """Whether model.onnx is an artifact of its run, beside manifest.json and report.html."""


class TensorboardSettings(_Room):
    """Curves of trainings, for TensorBoard. Needs the extra `tensorboard`."""

    dir: Path | None = None
    """Folder for `tensorboard --logdir`, the same for all trainers of one database; unset is none."""


class TrackersSettings(_Room):
    """What is told of trainings and evaluations, and never holds one up."""

    mlflow: MlflowSettings = MlflowSettings()
    tensorboard: TensorboardSettings = TensorboardSettings()

    @property
    def are_set(self) -> bool:
        """Whether there is any."""
        return self.mlflow.url is not None or self.tensorboard.dir is not None


class TelemetrySettings(_Room):
    """What operators see."""

    metrics_listen: Address = "127.0.0.1:9464"
    """Address and port of Prometheus' /metrics."""
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """Least severe lines that are written: DEBUG, INFO, WARNING or ERROR."""
    log_format: LogFormat = LogFormat.AUTO
    """`console`, `json`, or `auto`: console on a terminal, JSON elsewhere."""
    otlp_endpoint: Endpoint | None = None
    """Collector of traces, by OTLP over gRPC, such as http://127.0.0.1:4317; unset makes no traces. Needs the extra `otel`."""
    otlp_headers: SecretStr | None = None
    """Sent to the collector with every request: `KEY=VALUE`, several with commas in between."""
    trace_ratio: float = Field(default=1.0, ge=0, le=1)
    """Share of the calls that are traced, where their caller has not decided it; those that make jobs are unless it is 0."""
    service_name: str = Field(default="eyas", min_length=1)
    """What traces call this daemon."""
