"""What a failing test says reaches the process that prints it, whatever it says."""

import pytest
from execnet import dumps

HALF = "caf\udce9"


@pytest.mark.parametrize("when", ["call", "collect"])
def test_a_report_with_half_a_surrogate_can_be_sent(when: str, pytestconfig: pytest.Config) -> None:
    sections = [("Captured stdout call", HALF)]
    if when == "collect":
        report = pytest.CollectReport("a.py", "failed", HALF, [], sections)
    else:
        place = ("a.py", 1, "test_a")
        report = pytest.TestReport("a.py::test_a", place, {HALF: 1}, "failed", HALF, when, sections)

    hook = pytestconfig.hook
    data = hook.pytest_report_to_serializable(config=pytestconfig, report=report)

    assert dumps(data)
    read = hook.pytest_report_from_serializable(config=pytestconfig, data=data)
    assert read.longrepr == "caf\\udce9"
    assert read.sections == [("Captured stdout call", "caf\\udce9")]
