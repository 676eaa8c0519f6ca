"""Status codes and their words."""

import grpc
import pytest

from nri_cdi.ttrpc import Code, Status, unimplemented


def test_codes_are_those_of_grpc() -> None:
    assert {code.name: code.value for code in Code} == {code.name: code.value[0] for code in grpc.StatusCode}


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (Status(), "OK"),
        (Status(Code.NOT_FOUND), "NOT_FOUND"),
        (Status(5, "no such device"), "NOT_FOUND: no such device"),
        (Status(99, "new"), "code 99: new"),
    ],
)
def test_a_status_reads_as_its_code_and_message(status: Status, text: str) -> None:
    assert str(status) == text


def test_unknown_methods_are_named_with_their_service() -> None:
    assert unimplemented("a.B", "C") == "service a.B method C"
