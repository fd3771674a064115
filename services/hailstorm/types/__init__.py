"""Stubs of the messages that more than one service speaks."""
