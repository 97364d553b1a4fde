"""The image of Jobs that are to have their trainer's own: whatever tool changes that one, Jobs follow."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from eyasd.jobs.kubernetes.api import PODS, ApiFailed, Cluster
from eyasd.jobs.kubernetes.objects import CONTAINER, PodOptions

OWN: Final = "own"
_NOT_FOUND: Final = 404


async def with_image(cluster: Cluster, options: PodOptions, pod: str) -> PodOptions:
    """Returns the options with an image, and with what it is pulled, that of the trainer's own pod where it is `own`.

    Args:
        cluster: is asked.
        options: say `own`, or an image.
        pod: the name of the trainer's pod, in the namespace of the Jobs.

    Raises:
        ApiFailed: the API server does not say, or there is no such pod.
    """
    if options.image != OWN:
        return options
    listed = await cluster.list(PODS.format(options.namespace), fieldSelector=f"metadata.name={pod}")
    if not listed["items"]:
        raise ApiFailed(
            _NOT_FOUND,
            "NotFound",
            f'kubernetes.image is "own", and the namespace {options.namespace!r} has no pod {pod!r}: name the image',
        )
    spec = listed["items"][0]["spec"]
    containers = {one["name"]: one["image"] for one in spec["containers"]}  # a mesh adds some of its own
    image = containers.get(CONTAINER) or next(iter(containers.values()))
    secrets = options.pull_secrets or tuple(one["name"] for one in spec.get("imagePullSecrets", ()))
    return replace(options, image=image, pull_secrets=secrets)
