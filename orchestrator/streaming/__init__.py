"""Data larger than memory: three passes over the files, piece by piece, leave preprocessed rows on disk."""

from orchestrator.streaming.prepare import Known, streamed, survey
from orchestrator.streaming.tasks import in_turn, on_ray

__all__ = ["Known", "in_turn", "on_ray", "streamed", "survey"]
