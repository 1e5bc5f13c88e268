"""The names of the files in a registered model's folder: written by the orchestrator, read by `deploy`."""

FLAVOR = "ringmaster"
MODEL = "model.keras"
PREPROCESSING = "preprocessing.json"
GOLDEN = "golden.json"
