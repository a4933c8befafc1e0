"""One use case per step of the pipeline, wired to a Platform: what the command line, the tasks and
the demo all call.
"""
