"""The dashboards as code.

`python -m dashboards`, with k8s/monitoring on the path, writes grafana/, and rules/ as Kubernetes has it.
"""
