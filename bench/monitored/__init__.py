"""The load that bench/monitoring.py looks at."""
