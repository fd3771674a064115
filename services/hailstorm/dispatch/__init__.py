"""Requests in, matches out."""
