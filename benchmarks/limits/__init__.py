"""Simulated servers with rate limits, jobs that meet them, and ways to get through. `ratelimit.py` is their front."""
