"""What `benchmarks/performance.py` is made of: a server of prepared bytes, clients of one interface, loads, measures."""
