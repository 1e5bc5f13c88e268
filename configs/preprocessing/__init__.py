"""Fitted preprocessing: raw columns -> model inputs, and model outputs -> labels.

One document of plain JSON, fitted on the training part, that travels with the registered model: training, `predict`
and the endpoint all call `Preprocessing.transform`. Knows nothing about files, Keras or HTTP.
"""

from configs.features import TABLE
from configs.preprocessing.categories import FIRST_SEEN, MISSING, UNSEEN, FittedCategory
from configs.preprocessing.dates import FittedDate, as_dates
from configs.preprocessing.document import Fitter, Preprocessing, table_columns
from configs.preprocessing.inference import infer
from configs.preprocessing.numbers import FittedNumber
from configs.preprocessing.rows import describe, plain_columns, plain_features
from configs.preprocessing.scaling import Scaling
from configs.preprocessing.target_values import with_target
from configs.preprocessing.targets import FittedTarget, Label, misfits
from configs.preprocessing.tensors import FittedTensor
from configs.preprocessing.texts import FittedText
from configs.preprocessing.times import as_times, sort_keys
from configs.preprocessing.values import BadValue, Columns, as_numbers, as_texts, exact_texts, text_array, text_codes
from configs.preprocessing.windows import in_order, window_starts
from configs.rules import MISSING_TEXTS

__all__ = [
    "FIRST_SEEN",
    "MISSING",
    "MISSING_TEXTS",
    "TABLE",
    "UNSEEN",
    "BadValue",
    "Columns",
    "FittedCategory",
    "FittedDate",
    "FittedNumber",
    "FittedTarget",
    "FittedTensor",
    "FittedText",
    "Fitter",
    "Label",
    "Preprocessing",
    "Scaling",
    "as_dates",
    "as_numbers",
    "as_texts",
    "as_times",
    "describe",
    "exact_texts",
    "in_order",
    "infer",
    "misfits",
    "plain_columns",
    "plain_features",
    "sort_keys",
    "table_columns",
    "text_array",
    "text_codes",
    "window_starts",
    "with_target",
]
