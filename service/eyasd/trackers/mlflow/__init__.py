"""MLflow: its runs are told what becomes of jobs, and its registry mirrors the repository.

By its REST interface, of which a dozen calls are needed; its package brings twenty others, a web server among them.
"""
