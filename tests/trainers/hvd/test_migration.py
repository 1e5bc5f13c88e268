"""The Horovod way of writing works with only the import changed."""


def test_scripts_of_the_page_train_equal_ranks(ring):
    end = ring("cases_migration.py", 2)
    first, second = end.values("case_script_of_the_page")
    assert [script["sha256"] for script in first] == [script["sha256"] for script in second]
    assert [script["size"] for script in first] == [2, 2]
    assert "checkpoint-2.keras" in first[0]["files"]  # rank 0 alone writes
    assert second[0]["files"] == []
