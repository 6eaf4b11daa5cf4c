"""What to do and when: retries, deadlines. Numbers in, decisions out.

Nothing here awaits, reads a clock or opens anything; time and randomness are arguments. It knows nothing of `wire`.
"""
