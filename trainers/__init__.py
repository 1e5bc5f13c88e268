"""What runs inside a Ray Train worker. Knows nothing about serving, MLflow or the command line."""
