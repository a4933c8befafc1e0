"""One use case per step of the pipeline. The command line, the tasks and the demo call them."""
