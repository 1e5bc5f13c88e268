"""The names that the YAML file may use: model and import-path grammar, Keras optimizers, losses, metrics.

A test compares the three Keras tables with the installed Keras, so that a typo is found on the user's machine
before a worker starts, without importing TensorFlow there.
"""

from typing import Annotated

from pydantic import StringConstraints

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
IMPORT_PATTERN = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"

RegisteredName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Letters, digits, '_', '.' and '-': valid as MLflow model name, as a folder and in a URL."""

ImportPath = Annotated[str, StringConstraints(pattern=IMPORT_PATTERN)]
"""`package.module:function`, or `file:function` for a `file.py` beside the YAML file."""

PATTERNS = {
    NAME_PATTERN: "letters, digits, '_', '.' and '-', a letter or digit first",
    IMPORT_PATTERN: "package.module:function, or file:function for a file.py beside the YAML file",
}
"""The two patterns in words, for error messages."""

OPTIMIZERS = frozenset("adadelta adafactor adagrad adam adamax adamw ftrl lamb lion muon nadam rmsprop sgd".split())

LOSSES = frozenset(
    """binary_crossentropy binary_focal_crossentropy categorical_crossentropy categorical_focal_crossentropy
    categorical_hinge cosine_similarity hinge huber kl_divergence log_cosh mean_absolute_error
    mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error poisson
    sparse_categorical_crossentropy squared_hinge mae mse""".split()
)

METRICS = frozenset(
    """accuracy auc binary_accuracy categorical_accuracy cosine_similarity f1_score mae mean_absolute_error
    mean_absolute_percentage_error mean_squared_error mse precision r2_score recall root_mean_squared_error
    sparse_categorical_accuracy sparse_top_k_categorical_accuracy top_k_categorical_accuracy""".split()
)
