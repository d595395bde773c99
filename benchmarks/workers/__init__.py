"""What runs inside an environment: one process per engine, told its jobs line by line (stand/jobs.py)."""
