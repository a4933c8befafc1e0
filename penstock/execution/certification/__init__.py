"""A scripted life of small orders that shows how a venue behaves, and the file of its answers."""
