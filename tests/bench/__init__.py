"""The numbers of the issue, measured as ratios in one run: `python -m tests.bench`."""
