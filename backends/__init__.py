"""Executes and times; runs on Python 3.7 with numpy and one runtime, in a process of its own."""
