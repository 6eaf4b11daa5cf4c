"""What goes over the wire: bytes in, values and named errors out.

Nothing here awaits, reads a clock or opens anything; a point in time is an argument. It knows nothing of `policy`.
"""
