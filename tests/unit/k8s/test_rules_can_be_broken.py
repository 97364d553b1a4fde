"""policies: each rule is broken, once for each thing that it looks at, and says so; nothing else would prove that it looks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edits import again, config, container, pod, remove, rule, spec
from manifests import Manifests, Object, render
from policies import RULES

Change = Callable[[Manifests], object]


BREAKS: list[tuple[str, str, Change]] = [
    # pods
    ("images_are_of_this_version", "eyas-server:latest", lambda m: container(m).update(image="localhost/eyas-server:latest")),
    ("images_are_of_this_version", "eyas-server:0.0.9", lambda m: container(m).update(image="localhost/eyas-server:0.0.9")),
    ("images_are_of_this_version", "busybox", lambda m: pod(m).update(initContainers=[{"name": "a", "image": "busybox:1.0"}])),
    ("images_are_of_this_version", "asks a registry", lambda m: container(m).update(imagePullPolicy="Always")),
    ("servers_have_the_image_of_their_device", "for cuda", lambda m: config(m).update(EYASD_SERVING__DEVICE="cuda")),
    ("resources_are_bounded", "limits of ['cpu', 'memory']", lambda m: container(m)["resources"].pop("limits")),
    ("resources_are_bounded", "requests of ['cpu']", lambda m: container(m)["resources"]["requests"].pop("cpu")),
    ("resources_are_bounded", "Job/eyas-j1-1: trainer lacks", lambda m: config(m, "eyas-trainer").pop("EYASD_JOBS__MEMORY_BYTES")),
    ("resources_are_bounded", "more memory than", lambda m: container(m)["resources"]["requests"].update(memory="4Gi")),
    ("resources_are_bounded", "no sizeLimit of scratch", lambda m: pod(m)["volumes"][1]["emptyDir"].pop("sizeLimit")),
    (
        "trainings_fit_the_quota",
        "is of no pod",
        lambda m: config(m, "eyas-trainer").update(EYASD_KUBERNETES__PRIORITY_CLASS="eyas-serving"),
    ),
    (
        "trainings_fit_the_quota",
        "requests.memory",
        lambda m: config(m, "eyas-trainer").update(EYASD_JOBS__MEMORY_BYTES="900000000000"),
    ),
    (
        "trainings_fit_the_quota",
        "[None] of limits.cpu",
        lambda m: spec(m, "eyas-training", "ResourceQuota")["hard"].update({"limits.cpu": "9"}),
    ),
    ("daemons_are_probed", "startupProbe does not ask", lambda m: container(m).pop("startupProbe")),
    ("daemons_are_probed", "readinessProbe does not ask", lambda m: container(m)["readinessProbe"].update(grpc={"port": 50052})),
    ("daemons_are_probed", "while it is but busy", lambda m: container(m)["livenessProbe"].update(failureThreshold=1)),
    ("daemons_are_probed", "has 20.0 s to start", lambda m: container(m)["startupProbe"].update(failureThreshold=10)),
    ("daemons_end_in_order", "is killed after 25 s", lambda m: pod(m).update(terminationGracePeriodSeconds=25)),
    ("daemons_end_in_order", "is killed after 30 s", lambda m: pod(m).pop("terminationGracePeriodSeconds")),
    ("daemons_end_in_order", "refuses calls", lambda m: config(m).update(EYASD_API__LAME_DUCK_SECONDS="1")),
    ("servers_are_replaced_one_by_one", "before its successor", lambda m: spec(m, "eyas-server").pop("strategy")),
    ("servers_are_replaced_one_by_one", "may be two", lambda m: spec(m, "eyas-trainer").update(replicas=2)),
    ("servers_are_replaced_one_by_one", "may be two", lambda m: spec(m, "eyas-trainer").pop("strategy")),
    ("servers_are_spread", "over ['kubernetes.io/hostname']", lambda m: pod(m)["topologySpreadConstraints"].pop()),
    (
        "servers_are_spread",
        "others' labels",
        lambda m: pod(m)["topologySpreadConstraints"][0].update(labelSelector={"matchLabels": {"a": "b"}}),
    ),
    # security
    ("pods_keep_the_restricted_standard", "no root", lambda m: pod(m)["securityContext"].pop("runAsNonRoot")),
    ("pods_keep_the_restricted_standard", "no root", lambda m: container(m)["securityContext"].update(runAsUser=0)),
    ("pods_keep_the_restricted_standard", "no root", lambda m: config(m, "eyas-trainer").update(EYASD_KUBERNETES__USER="1001")),
    ("pods_keep_the_restricted_standard", "seccomp", lambda m: pod(m)["securityContext"].pop("seccompProfile")),
    ("pods_keep_the_restricted_standard", "become more", lambda m: container(m)["securityContext"].update(privileged=True)),
    ("pods_keep_the_restricted_standard", "become more", lambda m: container(m)["securityContext"].pop("allowPrivilegeEscalation")),
    (
        "pods_keep_the_restricted_standard",
        "capabilities",
        lambda m: container(m)["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
    ),
    (
        "pods_keep_the_restricted_standard",
        "into its image",
        lambda m: container(m)["securityContext"].pop("readOnlyRootFilesystem"),
    ),
    ("pods_keep_the_restricted_standard", "an option", lambda m: container(m)["securityContext"].update(procMount="Unmasked")),
    ("pods_keep_the_restricted_standard", "port of its node", lambda m: container(m)["ports"][0].update(hostPort=1)),
    ("pods_keep_the_restricted_standard", "hostNetwork", lambda m: pod(m).update(hostNetwork=True)),
    (
        "pods_keep_the_restricted_standard",
        "the volume data",
        lambda m: pod(m)["volumes"].__setitem__(0, {"name": "data", "hostPath": {"path": "/"}}),
    ),
    ("pods_keep_the_restricted_standard", "does not enforce", lambda m: m.of("Namespace")[0]["metadata"].pop("labels")),
    ("pods_keep_the_restricted_standard", "a may", lambda m: pod(m).update(initContainers=[{"name": "a", "image": "b"}])),
    ("volumes_are_of_the_user", "no fsGroup", lambda m: pod(m)["securityContext"].pop("fsGroup")),
    (
        "only_what_is_written_is_writable",
        "may write to /models",
        lambda m: container(m)["volumeMounts"].append({"name": "data", "mountPath": "/models"}),
    ),
    ("only_what_is_written_is_writable", "cannot write to /tmp", lambda m: container(m)["volumeMounts"].pop()),
    ("only_what_is_written_is_writable", "by subPath", lambda m: container(m)["volumeMounts"][0].update(subPath="a")),
    (
        "accounts_have_the_rights_that_are_used",
        "and does []",
        lambda m: m.of("Role")[0]["rules"].append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}),
    ),
    ("accounts_have_the_rights_that_are_used", "('', 'pods/log')", lambda m: m.of("Role")[0]["rules"].pop(2)),
    (
        "accounts_have_the_rights_that_are_used",
        "('batch', 'jobs')",
        lambda m: m.of("Role")[0]["rules"][0]["verbs"].remove("delete"),
    ),
    ("accounts_have_the_rights_that_are_used", "eyas-trainer may []", lambda m: remove(m, "RoleBinding", "eyas-trainer")),
    (
        "accounts_have_the_rights_that_are_used",
        "eyas-server may",
        lambda m: m.of("RoleBinding")[0]["subjects"].append({"kind": "ServiceAccount", "name": "eyas-server"}),
    ),
    (
        "accounts_have_the_rights_that_are_used",
        "beyond",
        lambda m: m.objects.append({"kind": "ClusterRole", "metadata": {"name": "all"}}),
    ),
    ("only_who_uses_a_token_has_one", "Deployment/eyas-server has", lambda m: pod(m).pop("automountServiceAccountToken")),
    (
        "only_who_uses_a_token_has_one",
        "Deployment/eyas-trainer has",
        lambda m: pod(m, "eyas-trainer").update(automountServiceAccountToken=False),
    ),
    (
        "only_who_uses_a_token_has_one",
        "unless they say no",
        lambda m: m.of("ServiceAccount")[0].pop("automountServiceAccountToken"),
    ),
    # configuration
    (
        "variables_are_settings",
        "EYASD_SERVING__MAX_BACH_SIZE",
        lambda m: container(m)["env"].append({"name": "EYASD_SERVING__MAX_BACH_SIZE", "value": "1"}),
    ),
    ("variables_are_settings", "EYASD_SERVNG__DEVICE, which is no setting", lambda m: config(m).update(EYASD_SERVNG__DEVICE="cpu")),
    ("variables_are_settings", "PORT, which nobody reads", lambda m: container(m)["env"].append({"name": "PORT", "value": "1"})),
    ("variables_are_settings", "LISTEN, which is no setting", lambda m: config(m).update(LISTEN="1")),
    ("daemons_start_without_what_is_optional", "no credential", lambda m: config(m).pop("EYASD_API__INSECURE")),
    (
        "daemons_start_without_what_is_optional",
        "would not see data_dir",
        lambda m: config(m, "eyas-trainer").pop("EYASD_KUBERNETES__VOLUMES"),
    ),
    ("ports_are_those_that_are_listened_on", "has the ports", lambda m: container(m)["ports"].pop()),
    ("ports_are_those_that_are_listened_on", "has the ports", lambda m: container(m)["ports"][0].update(name="h2")),
    ("ports_are_those_that_are_listened_on", "no other machine", lambda m: config(m).pop("EYASD_TELEMETRY__METRICS_LISTEN")),
    ("ports_are_those_that_are_listened_on", "and by default", lambda m: config(m).update(EYASD_API__LISTEN="0.0.0.0:50052")),
    (
        "files_of_settings_are_mounted",
        "trainer_ca = /etc/ca.pem",
        lambda m: config(m).update(EYASD_KUBERNETES__TRAINER_CA="/etc/ca.pem"),
    ),
    ("training_pods_reach_their_trainer", "and not for itself", lambda m: pod(m, "eyas-trainer")["volumes"].pop(0)),
    (
        "training_pods_reach_their_trainer",
        "which is no Service",
        lambda m: config(m, "eyas-trainer").update(
            EYASD_KUBERNETES__STORE="s3://bucket/b", EYASD_KUBERNETES__TRAINER="trainer:50051"
        ),
    ),
    (
        "training_pods_reach_their_trainer",
        "which leads elsewhere",
        lambda m: config(m, "eyas-trainer").update(
            EYASD_KUBERNETES__STORE="s3://bucket/b", EYASD_KUBERNETES__TRAINER="eyas-server:50051"
        ),
    ),
    (
        "secrets_are_explained",
        "'password of nobody'",
        lambda m: container(m)["env"][1]["valueFrom"]["secretKeyRef"].update(key="password of nobody"),
    ),
    (
        "secrets_are_explained",
        "the Secret eyas-unknown",
        lambda m: container(m)["envFrom"].append({"secretRef": {"name": "eyas-unknown"}}),
    ),
    (
        "secrets_are_explained",
        "the Secret eyas-unknown",
        lambda m: pod(m)["volumes"].append({"name": "a", "secret": {"secretName": "eyas-unknown"}}),
    ),
    ("no_secret_is_written_down", "the Secret a is", lambda m: m.objects.append({"kind": "Secret", "metadata": {"name": "a"}})),
    ("no_secret_is_written_down", "a value of EYASD_API__TOKEN", lambda m: config(m).update(EYASD_API__TOKEN="hush")),
    # references
    ("names_are_unique_and_in_the_namespace", "is there 2 times", lambda m: m.objects.append(m.of("Service")[0])),
    (
        "names_are_unique_and_in_the_namespace",
        "in the namespace other",
        lambda m: m.of("Service")[0]["metadata"].update(namespace="other"),
    ),
    ("names_are_unique_and_in_the_namespace", "no good name", lambda m: m.of("Service")[0]["metadata"].update(name="eyas_server")),
    ("names_are_unique_and_in_the_namespace", "is not made", lambda m: remove(m, "Namespace", "eyas")),
    ("objects_say_whose_they_are", "has no label", lambda m: m.of("Service")[0]["metadata"].pop("labels")),
    ("objects_say_whose_they_are", "what they are", lambda m: spec(m, "eyas-server")["template"]["metadata"].pop("labels")),
    ("selectors_match_their_templates", "its own", lambda m: spec(m, "eyas-server")["selector"]["matchLabels"].update(a="b")),
    (
        "selectors_match_their_templates",
        "chooses those of",
        lambda m: spec(m, "eyas-server")["selector"]["matchLabels"].pop("app.kubernetes.io/component"),
    ),
    (
        "whatever_chooses_pods_finds_some",
        "chooses no pod",
        lambda m: spec(m, "eyas-server", "PodDisruptionBudget")["selector"]["matchLabels"].update(a="b"),
    ),
    ("services_lead_to_ports", "leads to no pod", lambda m: spec(m, "eyas-server", "Service")["selector"].update(a="b")),
    ("services_lead_to_ports", "leads port", lambda m: spec(m, "eyas-server", "Service")["ports"][0].update(targetPort="rpc")),
    ("services_lead_to_ports", "leads port", lambda m: spec(m, "eyas-server", "Service")["ports"][0].update(port=80)),
    ("servers_can_be_found_one_by_one", "no headless Service", lambda m: remove(m, "Service", "eyas-server-headless")),
    ("what_pods_name_is_there", "no account of its own", lambda m: pod(m).pop("serviceAccountName")),
    ("what_pods_name_is_there", "PriorityClass urgent", lambda m: pod(m).update(priorityClassName="urgent")),
    ("what_pods_name_is_there", "PersistentVolumeClaim eyas-data", lambda m: remove(m, "PersistentVolumeClaim", "eyas-data")),
    (
        "what_pods_name_is_there",
        "ServiceAccount nobody",
        lambda m: config(m, "eyas-trainer").update(EYASD_KUBERNETES__SERVICE_ACCOUNT="nobody"),
    ),
    ("what_is_there_is_used", "PersistentVolumeClaim/eyas-data-b", lambda m: again(m, "PersistentVolumeClaim", "eyas-data")),
    ("roles_are_bound_to_who_is_there", "is of admin", lambda m: m.of("RoleBinding")[0]["roleRef"].update(name="admin")),
    (
        "roles_are_bound_to_who_is_there",
        "who is not there",
        lambda m: m.of("RoleBinding")[0]["subjects"][0].update(namespace="other"),
    ),
    (
        "mounts_are_of_volumes",
        "lacks ['a']",
        lambda m: container(m)["volumeMounts"].append({"name": "a", "mountPath": "/a", "readOnly": True}),
    ),
    (
        "mounts_are_of_volumes",
        "['a'] for nobody",
        lambda m: pod(m)["volumes"].append({"name": "a", "emptyDir": {"sizeLimit": "1Mi"}}),
    ),
    # network
    (
        "nobody_speaks_but_as_said",
        "['Ingress'] alone",
        lambda m: (
            spec(m, "eyas-deny", "NetworkPolicy").update(podSelector={"matchLabels": {"a": "b"}})
            or remove(m, "NetworkPolicy", "eyas-dns")
        ),
    ),
    (
        "policies_are_of_pods",
        "chooses no pod",
        lambda m: spec(m, "eyas-server", "NetworkPolicy")["podSelector"]["matchLabels"].update(a="b"),
    ),
    ("policies_are_of_pods", "lets in at 80", lambda m: rule(m, "eyas-server")["ports"].append({"port": 80})),
    ("policies_are_of_pods", "not that it is for it", lambda m: spec(m, "eyas-server", "NetworkPolicy").update(egress=[])),
    (
        "policies_are_of_pods",
        "whom nobody is",
        lambda m: rule(m, "eyas-server")["from"].append({"podSelector": {"matchLabels": {"a": "b"}}}),
    ),
    ("callers_are_let_in", "not to be called at http", lambda m: rule(m, "eyas-server")["ports"].pop()),
    ("callers_are_let_in", "not to be called at grpc", lambda m: rule(m, "eyas-server")["from"].pop()),
    ("callers_are_let_in", "anybody in at grpc", lambda m: rule(m, "eyas-server").pop("from")),
    ("pods_get_what_they_need", "ask for names", lambda m: remove(m, "NetworkPolicy", "eyas-dns")),
    ("pods_get_what_they_need", "the API server", lambda m: remove(m, "NetworkPolicy", "eyas-trainer-api")),
    ("pods_get_what_they_need", "other pods", lambda m: spec(m, "eyas-training", "NetworkPolicy").pop("ingress")),
    (
        "pods_get_what_they_need",
        "its trainer",
        lambda m: config(m, "eyas-trainer").update(
            EYASD_KUBERNETES__STORE="s3://bucket/b", EYASD_KUBERNETES__TRAINER="eyas-trainer:50051"
        ),
    ),
    # autoscaling
    (
        "autoscalers_scale_what_is_there",
        "not there",
        lambda m: spec(m, "eyas-server", "HorizontalPodAutoscaler")["scaleTargetRef"].update(name="a"),
    ),
    ("autoscalers_scale_what_is_there", "both say", lambda m: spec(m, "eyas-server").update(replicas=2)),
    (
        "autoscalers_scale_what_is_there",
        "from 4 to 4",
        lambda m: spec(m, "eyas-server", "HorizontalPodAutoscaler").update(minReplicas=4),
    ),
    ("autoscalers_scale_what_is_there", "scaled twice", lambda m: again(m, "HorizontalPodAutoscaler", "eyas-server")),
    (
        "autoscalers_scale_what_is_there",
        "does not ask for",
        lambda m: spec(m, "eyas-server", "HorizontalPodAutoscaler")["metrics"][0]["resource"].update(name="gpu"),
    ),
    (
        "series_are_counted",
        "eyas_queue_length",
        lambda m: spec(m, "eyas-server", "HorizontalPodAutoscaler")["metrics"].append(
            {"type": "Pods", "pods": {"metric": {"name": "eyas_queue_length"}}}
        ),
    ),
    ("a_node_can_be_drained", "has 0 budgets", lambda m: remove(m, "PodDisruptionBudget", "eyas-server")),
    ("a_node_can_be_drained", "has 2 budgets", lambda m: again(m, "PodDisruptionBudget", "eyas-server")),
    ("a_node_can_be_drained", "holds up", lambda m: spec(m, "eyas-server", "PodDisruptionBudget").update(maxUnavailable=0)),
    (
        "a_roll_out_adds_servers",
        "rolls out with",
        lambda m: spec(m, "eyas-server")["strategy"]["rollingUpdate"].update(maxSurge=0),
    ),
]


# With what components bring.
TLS = ("cpu", "tls", "cert-manager", "prepull")
PROD = ("prod",)
WATCHED = ("cpu", "backup", "read-write-many", "monitoring")


def probe(manifests: Manifests) -> Object:
    return container(manifests)["readinessProbe"]  # type: ignore[no-any-return]


def cron(manifests: Manifests) -> Object:
    return spec(manifests, "eyas-backup", "CronJob")["jobTemplate"]["spec"]["template"]["spec"]  # type: ignore[no-any-return]


BREAKS_OF_COMPONENTS: list[tuple[tuple[str, ...], str, str, Change]] = [
    (
        TLS,
        "images_are_of_this_version",
        "2 images of localhost/eyas-server",
        lambda m: spec(m, "eyas-prepull", "DaemonSet")["template"]["spec"]["containers"][0].update(
            image="localhost/eyas-server:0.1.0"
        ),
    ),
    (TLS, "daemons_are_probed", "does not ask over TLS", lambda m: probe(m).update(exec={"command": ["true"]})),
    (TLS, "daemons_are_probed", "ask port 50051 over TLS", lambda m: probe(m)["exec"]["command"].__setitem__(3, "127.0.0.1:1")),
    (TLS, "daemons_are_probed", "/ca.pem, which is not mounted", lambda m: probe(m)["exec"]["command"].__setitem__(5, "/ca.pem")),
    (TLS, "daemons_are_probed", "ends the command", lambda m: probe(m).pop("timeoutSeconds")),
    (
        TLS,
        "daemons_are_probed",
        "shows no certificate",
        lambda m: config(m).update(EYASD_API__TLS_CLIENT_CA="/etc/eyas/tls/ca.crt", EYASD_ACCESS__CERTIFICATES='{"*": "admin"}'),
    ),
    (
        TLS,
        "certificates_have_the_names_that_are_checked",
        "has not the name eyas-trainer",
        lambda m: spec(m, "eyas", "Certificate")["dnsNames"].remove("eyas-trainer"),
    ),
    (
        TLS,
        "certificates_have_the_names_that_are_checked",
        "and their probes",
        lambda m: spec(m, "eyas", "Certificate")["usages"].remove("client auth"),
    ),
    (
        TLS,
        "trainings_fit_the_quota",
        "takes room",
        lambda m: spec(m, "eyas-prepull", "DaemonSet")["template"]["spec"].update(priorityClassName="eyas-training"),
    ),
    (
        PROD,
        "credentials_do_not_travel_in_the_clear",
        "eyas-server wants credentials",
        lambda m: [config(m).pop(f"EYASD_API__TLS_{what}") for what in ("CERTIFICATE", "KEY")],
    ),
    (WATCHED, "whatever_chooses_pods_finds_some", "asks Deployment/eyas-server", lambda m: remove(m, "PodMonitor", "eyas-server")),
    (
        WATCHED,
        "whatever_chooses_pods_finds_some",
        "asks the port http",
        lambda m: spec(m, "eyas-server", "PodMonitor")["podMetricsEndpoints"][0].update(port="http"),
    ),
    (WATCHED, "what_pods_name_is_there", "eyas-backup has no account", lambda m: cron(m).pop("serviceAccountName")),
    (WATCHED, "files_of_settings_are_mounted", "/var/lib/eyas-jobs", lambda m: cron(m)["containers"][0]["volumeMounts"].pop(0)),
    (
        ("cpu", "keda"),
        "series_are_counted",
        "eyas_full_ratio",
        lambda m: spec(m, "eyas-server", "ScaledObject")["triggers"][0]["metadata"].update(query="sum(eyas_full_ratio)"),
    ),
]
EVERY_BREAK = [*((("cpu",), *one) for one in BREAKS), *BREAKS_OF_COMPONENTS]


@pytest.mark.parametrize(
    ("case", "called", "says", "change"), EVERY_BREAK, ids=[f"{n}-{one[1]}" for n, one in enumerate(EVERY_BREAK)]
)
def test_a_rule_that_is_broken_says_so(case: tuple[str, ...], called: str, says: str, change: Change) -> None:
    changed = render(*case).copy()
    change(changed)
    assert [said for said in RULES[called](changed) if says in said], list(RULES[called](changed))


def test_every_rule_is_broken() -> None:
    assert {called for _, called, _, _ in EVERY_BREAK} == RULES.keys()
