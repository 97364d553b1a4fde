"""What a trainer may have to do in a cluster, and whether it may."""

from __future__ import annotations

from typing import Final

from eyasd.jobs.kubernetes.api import Cluster

# Verbs by API group and resource, as a Role has them.
RIGHTS: Final = {
    ("batch", "jobs"): ("create", "list", "watch", "delete"),
    ("", "pods"): ("list", "watch"),
    ("", "pods/log"): ("get",),
    ("", "services"): ("create",),
    ("", "events"): ("list",),
}
# Besides, where pods share no folder with the trainer. What it makes goes with its Job: it need neither read nor delete any.
RIGHTS_APART: Final = {("", "secrets"): ("create",)}
_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def missing(cluster: Cluster, namespace: str, *, apart: bool) -> list[str]:
    """Returns what the trainer may not do, such as `create jobs`.

    Args:
        cluster: is asked.
        namespace: where.
        apart: whether pods share no folder with the trainer.

    Raises:
        ApiFailed: the API server does not say.
    """
    refused = []
    for (group, resource), verbs in {**RIGHTS, **(RIGHTS_APART if apart else {})}.items():
        name, _, part = resource.partition("/")
        for verb in verbs:
            asked = {"namespace": namespace, "verb": verb, "group": group, "resource": name, "subresource": part}
            review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
            answer = await cluster.create(_REVIEWS, {**review, "spec": {"resourceAttributes": asked}})
            if not answer["status"]["allowed"]:
                refused.append(f"{verb} {resource}")
    return refused
