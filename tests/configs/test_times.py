"""Times of any carrier are the same points in time, to the nanosecond; formats mean what they say."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.data import DataSpec, SplitSpec, WindowSpec
from configs.dates import duration_of, nanoseconds
from configs.errors import DataError
from configs.preprocessing import as_times, sort_keys
from configs.preprocessing.times import likely_format, with_offset

NS = st.integers(0, 2_000_000_000 * 10**9)


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


@settings(deadline=None)
@given(st.lists(NS, min_size=1, max_size=20))
def test_every_carrier_gives_the_same_nanoseconds(counts: list[int]) -> None:
    times = np.array(counts, np.int64).view("datetime64[ns]")
    carriers = {
        "datetime64": as_times("t", times),
        "text": as_times("t", objects([str(time) for time in times])),
        "pandas": as_times("t", objects(list(pd.to_datetime(times)))),
        "with an offset": as_times("t", objects([f"{pd.Timestamp(t).tz_localize('UTC'):}" for t in times])),
        "epoch_ns": as_times("t", np.array(counts), ("epoch_ns",)),
        "epoch_s as text": as_times("t", objects([f"{n // 10**9}.{n % 10**9:09}" for n in counts]), ("epoch_s",)),
    }
    for name, found in carriers.items():
        assert found.tolist() == times.tolist(), name


def test_offsets_are_compared_in_utc() -> None:
    found = as_times("t", objects(["2024-01-01T01:00:00+02:00", "2023-12-31T23:00:00Z", "2023-12-31 23:00", None]))
    assert (found[:3] == np.datetime64("2023-12-31T23:00")).all() and np.isnat(found[3])
    assert with_offset(["2024-01-01T01:00:00+02:00", "2024-01-01 10:00Z", "2024-01-01", "2024-01-01 10:00"]) == (2, 2)


@pytest.mark.parametrize("days", [["1500-01-01", "9999-12-31"], ["2024-01-01 00:00:00.123456789", "9999-12-31"]])
def test_dates_that_nanoseconds_do_not_reach(days: list[str]) -> None:
    found = as_times("t", objects(days))
    assert found.dtype == "datetime64[us]" and str(found[1]) == "9999-12-31T00:00:00.000000"
    assert found[0] == np.datetime64(days[0][:26])
    assert as_times("t", found).tolist() == found.tolist()


@pytest.mark.parametrize(
    ("values", "form"),
    [
        (np.array([20240131, 20240201]), "%Y%m%d"),
        (objects(["20240131", "20240201"]), "%Y%m%d"),
        (np.array([2023, 2024]), "%Y"),
        (np.array([1706659200.0, np.nan]), "epoch_s"),
        (np.array([1706659200000]), "epoch_ms"),
        (objects(["31/01/2024 10:00", "01/02/2024 10:00"]), "%d/%m/%Y %H:%M"),
        (objects(["Jan 31, 2024"]), "%b %d, %Y"),
    ],
)
def test_the_format_that_is_suggested_reads_the_column(values: np.ndarray, form: str) -> None:
    texts = [str(int(value)) if isinstance(value, float) else str(value) for value in values if value == value]
    assert likely_format(texts) == form
    assert as_times("t", values, (form,))[0].astype("datetime64[Y]") in np.array(["2023", "2024"], "datetime64[Y]")


def test_a_format_is_not_read_as_another() -> None:
    with pytest.raises(DataError, match="got '2024', expected a date such as %Y%m%d"):
        as_times("t", objects(["20240131", "2024"]), ("%Y%m%d",))


def test_integers_sort_as_they_are() -> None:
    assert sort_keys("t", objects([2**53 + 1, 2**53])).tolist() == [2**53 + 1, 2**53]


@given(st.integers(1, 10**15))
def test_a_duration_is_read_as_it_is_written(count: int) -> None:
    assert nanoseconds(duration_of(count)) == count


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"dates": {"t": "dd/mm/yyyy"}}, "'dd/mm/yyyy' is not a date format; write it like %d/%m/%Y %H:%M"),
        ({"dates": {"t": "%Q"}}, "'%Q' is not a date format"),
        ({"dates": {"x": "%Y"}}, "dates: column 'x' has no part in the job"),
        ({"dates": {"t": "%Y"}, "features": {"t": {"kind": "date", "formats": ["%d"]}}}, "different formats"),
        ({"window": {"width": 2, "max_gap": "1h"}, "split": {"by": "time"}}, "needs the column of times; add order"),
    ],
)
def test_formats_that_cannot_be_meant(keys: dict[str, Any], problem: str) -> None:
    job = {"csv": "x.csv", "features": {"t": "date"}, "target": {"column": "y"}} | keys
    with pytest.raises(ValidationError) as caught:
        DataSpec.model_validate(job)
    assert problem in str(caught.value)


def test_a_gap_is_a_duration_or_a_number() -> None:
    assert WindowSpec(width=2, order="t", max_gap="1h30min").max_gap == "1h30min"
    with pytest.raises(ValidationError, match="'an hour' is not a duration; write it like 90s, 15min, 1h or 2d"):
        WindowSpec(width=2, order="t", max_gap="an hour")


@pytest.mark.parametrize("given_", [2024, 20240101, "2024", pd.Timestamp("2024-01-01").date()])
def test_a_cut_is_kept_as_it_is_written(given_: Any) -> None:
    split = SplitSpec.model_validate({"by": "time", "column": "t", "valid_from": given_})
    assert split.valid_from == str(given_)
