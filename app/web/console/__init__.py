"""The console for the engineer on call: server-rendered pages under /console, thin over the handlers of the API.

It works without JavaScript; one small script of ours keeps pages live. Nothing is loaded from anywhere else.
"""
