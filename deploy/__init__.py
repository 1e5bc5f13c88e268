"""What turns a registered model into answers. Knows nothing about training: only the registered folder comes in."""
