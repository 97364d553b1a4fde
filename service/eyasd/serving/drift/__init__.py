"""Whether what is asked, and what is answered, is still like what the version was tested on: counted, for Prometheus to compare.

Imports core, telemetry and serving's nouns.
"""
