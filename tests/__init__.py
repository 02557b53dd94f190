"""The tests mirror app/, one file per module."""
