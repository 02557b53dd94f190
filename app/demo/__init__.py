"""The demo: a fleet of accounts through the whole lifecycle, on real processes, over HTTP, with faults on."""
