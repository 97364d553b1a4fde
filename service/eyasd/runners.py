"""Where jobs run: as processes of this machine, or as Jobs of a cluster."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from eyasd.config import Settings
from eyasd.core.errors import StartupFailed, StorageFailed
from eyasd.jobs.exchange import Exchange
from eyasd.jobs.gpus import gpu_count, visible_gpus
from eyasd.jobs.kubernetes.objects import Apart, PodOptions
from eyasd.jobs.local import LocalOptions, LocalRunner
from eyasd.jobs.permits import Permits
from eyasd.jobs.queue import QueueOptions
from eyasd.jobs.replica import PROCESS_LEASE_SECONDS
from eyasd.jobs.runner import Runner
from eyasd.storage.address import open_store
from eyasd.storage.watched import watched

if TYPE_CHECKING:
    from eyasd.jobs.kubernetes.api import Cluster


def make_runner(settings: Settings, permits: Permits, log: structlog.typing.FilteringBoundLogger) -> tuple[Runner, Cluster | None]:
    """Returns what runs jobs by the settings, and the cluster that is to be closed in the end; None where there is none.

    Raises:
        StartupFailed: the settings do not say where, or what it takes is not installed.
    """
    if settings.kubernetes.image is not None:
        return _cluster_runner(settings, permits, log)
    jobs = settings.jobs
    options = LocalOptions(
        processes=settings.training.processes,
        gpus=tuple(visible_gpus(os.environ)),
        locks=settings.data_dir / "gpus",
        memory_bytes=jobs.memory_bytes,
        time_limit_seconds=jobs.time_limit_seconds,
        grace_seconds=jobs.stop_grace_seconds,
        # SQLite's file is of one machine, on which every daemon finds the process.
        lease_seconds=PROCESS_LEASE_SECONDS if jobs.database else 0,
    )
    return LocalRunner(options), None


def make_exchange(settings: Settings, on_failure: Callable[[str], None] = lambda _: None) -> Exchange | None:
    """Returns what goes between the trainer and its pods; None where they share its folder, or there are none.

    Args:
        settings: say where.
        on_failure: told the operation, where the store fails.
    """
    kubernetes = settings.kubernetes
    if kubernetes.image is None or kubernetes.store is None:
        return None
    return Exchange(watched(open_store(kubernetes.store, settings.data_dir), on_failure), tuple(kubernetes.volumes))


def queue_options(settings: Settings) -> QueueOptions:
    """Returns what jobs have to share: the GPUs of this machine; without, or in a cluster, as many places as there are to be."""
    jobs = settings.jobs
    gpus = 0 if settings.kubernetes.image is not None else gpu_count(os.environ)
    if not gpus:
        return QueueOptions(devices=jobs.max_running, quota_running=jobs.quota_running)
    return QueueOptions(
        devices=gpus,
        quota_running=jobs.quota_running,
        jobs=jobs.max_running,
        training_devices=min(gpus, settings.training.processes or gpus),
    )


def _cluster_runner(settings: Settings, permits: Permits, log: structlog.typing.FilteringBoundLogger) -> tuple[Runner, Cluster]:
    cluster, namespace = _open_cluster(settings)
    from eyasd.jobs.kubernetes.runner import KubernetesRunner  # noqa: PLC0415 -- with aiohttp, which nobody else needs

    return KubernetesRunner(cluster, pod_options(settings, namespace), permits, log), cluster


async def check_cluster(settings: Settings) -> str:
    """Returns a word on the cluster of the settings, in which the trainer may do all that it has to.

    Raises:
        StartupFailed: it may not, or the cluster cannot be asked, or the store that is between them.
    """
    cluster, namespace = _open_cluster(settings)
    options = pod_options(settings, namespace)
    from eyasd.jobs.kubernetes.api import ApiFailed  # noqa: PLC0415 -- likewise
    from eyasd.jobs.kubernetes.image import with_image  # noqa: PLC0415
    from eyasd.jobs.kubernetes.rights import missing  # noqa: PLC0415

    try:
        if not (refused := await missing(cluster, namespace, apart=options.apart is not None)):
            await with_image(cluster, options, socket.gethostname())
        if (exchange := make_exchange(settings)) is not None:
            await asyncio.to_thread(exchange.jobs)
    except StorageFailed as error:
        raise StartupFailed(f"kubernetes.store cannot be used: {error.message}") from error
    except ApiFailed as error:
        raise StartupFailed(f"The cluster cannot be asked: {error.message}") from error
    finally:
        await cluster.close()
    if refused:
        raise StartupFailed(
            f"The trainer may not {', '.join(refused)} in the namespace {namespace!r}: bind the Role of docs/operations.md to its "
            "service account."
        )
    return f"the trainer may do what it has to in the namespace {namespace!r}"


def _open_cluster(settings: Settings) -> tuple[Cluster, str]:
    """Returns the cluster of the settings, and the namespace of the Jobs."""
    try:
        from eyasd.jobs.kubernetes.api import Access, Cluster  # noqa: PLC0415 -- aiohttp, which nobody else needs
    except ModuleNotFoundError as error:
        raise StartupFailed("kubernetes.image needs aiohttp: install 'eyas[kubernetes]', or leave it unset.") from error
    url = settings.kubernetes.api_url
    access = Access(url.rstrip("/")) if url else Access.within(os.environ)
    namespace = settings.kubernetes.namespace or access.namespace()
    if namespace is None:
        raise StartupFailed("kubernetes.api_url is set, and kubernetes.namespace is not: name the namespace of the Jobs.")
    return Cluster(access), namespace


def pod_options(settings: Settings, namespace: str) -> PodOptions:
    """Returns how pods are asked for.

    Raises:
        StartupFailed: pods would see neither the data folder nor a store, or would not know whom to report to.
    """
    kubernetes, jobs = settings.kubernetes, settings.jobs
    apart = _apart(settings)
    folder = settings.data_dir
    if apart is None and not _mounted(settings, folder):
        raise StartupFailed(
            f"Pods would not see data_dir {str(folder)!r}: let it be an absolute path, and name the claim of the volume that "
            """holds it in kubernetes.volumes, such as {"/var/lib/eyas" = "eyas-data"}, or an object store in kubernetes.store."""
        )
    return PodOptions(
        namespace=namespace,
        image=kubernetes.image or "",
        volumes=kubernetes.volumes,
        apart=apart,
        devices=kubernetes.gpus,
        devices_per_node=kubernetes.gpus_per_node,
        gpu_resource=kubernetes.gpu_resource,
        cpu=kubernetes.cpu,
        memory=str(jobs.memory_bytes) if jobs.memory_bytes else "",
        shared_memory_bytes=kubernetes.shared_memory_bytes,
        node_selector=kubernetes.node_selector,
        tolerations=tuple(kubernetes.tolerations),
        service_account=kubernetes.service_account,
        pull_secrets=tuple(kubernetes.pull_secrets),
        queue=kubernetes.queue,
        priority_class=kubernetes.priority_class,
        runtime_class=kubernetes.runtime_class,
        environment=kubernetes.environment,
        secrets=tuple(kubernetes.secrets),
        user=kubernetes.user,
        grace_seconds=jobs.stop_grace_seconds,
        time_limit_seconds=jobs.time_limit_seconds,
        keep_seconds=kubernetes.keep_seconds,
    )


def _apart(settings: Settings) -> Apart | None:
    """Returns how pods speak to the trainer; None where they share its folder."""
    kubernetes = settings.kubernetes
    store = kubernetes.store
    if store is None:
        return None
    if store == "memory://" or (store.startswith("file://") and not _mounted(settings, Path(store.removeprefix("file://")))):
        raise StartupFailed(
            f"Pods would not see kubernetes.store {store!r}: name an object store, such as s3://BUCKET/PREFIX, or a folder in one "
            "of kubernetes.volumes."
        )
    if kubernetes.trainer is None:
        raise StartupFailed(
            "kubernetes.store is set, and kubernetes.trainer is not: name HOST:PORT at which pods reach this trainer, such as that "
            "of its Service."
        )
    authority = ""
    if kubernetes.trainer_ca is not None:
        try:
            authority = kubernetes.trainer_ca.read_text()
        except (OSError, ValueError) as error:
            raise StartupFailed(f"kubernetes.trainer_ca {str(kubernetes.trainer_ca)!r} cannot be read: {error}.") from error
    tls = settings.api.tls_certificate is not None
    return Apart(store=store, trainer=kubernetes.trainer, tls=tls, authority=authority)


def _mounted(settings: Settings, folder: Path) -> bool:
    return folder.is_absolute() and any(folder.is_relative_to(path) for path in settings.kubernetes.volumes)
