"""Positions in, nearby drivers out."""
