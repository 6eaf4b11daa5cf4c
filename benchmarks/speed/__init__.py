"""What `benchmarks/performance.py` is made of: a server of prepared bytes, clients, loads, meters and tables."""
