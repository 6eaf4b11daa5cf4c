"""Tests of the report of a job."""
