"""`load_model` as in Horovod's Keras binding: a saved model, its optimizer distributed."""

from collections.abc import Iterable
from typing import Any

import keras

from configs.errors import SpecError
from trainers.hvd.optimizer import DistributedOptimizer
from trainers.hvd.settings import Compression


def load_model(
    filepath: Any,
    custom_optimizers: Iterable[type] | None = None,
    custom_objects: dict[str, Any] | None = None,
    compression: Compression | str = Compression.none,
    legacy_opts: bool = False,
    **options: Any,
) -> Any:
    """Return the saved Keras model with its optimizer distributed.

    custom_optimizers: optimizer classes of the script's own. options: those of `DistributedOptimizer`.
    """
    if legacy_opts:
        raise SpecError("legacy_opts=True was given. Keras 3 has no legacy optimizers: leave it out.")
    if isinstance(custom_optimizers, dict):
        raise SpecError(
            "hvd.load_model received a dict as custom_optimizers. Expected a list of optimizer classes; give the dict "
            "as custom_objects=."
        )
    classes = {kind.__name__: kind for kind in custom_optimizers or ()}
    model = keras.models.load_model(filepath, custom_objects={**classes, **(custom_objects or {})})
    if getattr(model, "optimizer", None) is not None:
        DistributedOptimizer(model.optimizer, compression=compression, **options)
    return model
