"""The training program, `python -m eyasd.training JOB_DIR`: labelled pictures in, a measured and proven bundle out.

Imports `core` and its own libraries; torch only once a training begins, never for an evaluation.
"""
