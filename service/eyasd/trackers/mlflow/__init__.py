"""MLflow: its runs are told what becomes of jobs, and its registry mirrors the repository.

By its REST interface, which is small and has stayed the same for years; its package is large, and asks for an older protobuf.
"""
