"""What refusals mean over HTTP."""

from __future__ import annotations

import pytest

from autocity import errors
from autocity.api import errors as problems
from autocity.errors import CityError


def every() -> list[type[CityError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CityError)]


@pytest.mark.parametrize("kind", every())
def test_every_refusal_has_a_status_and_a_problem(kind: type[CityError]) -> None:
    refusal = kind("what to do")
    problem = problems.problem(refusal, "r-1")
    assert problem["status"] == problems.status(refusal)
    assert 400 <= problem["status"] < 600
    assert problem["detail"] == "what to do"
    assert problem["title"] and not problem["title"].endswith(".")
    assert problem["requestId"] == "r-1"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InvalidRequest, 400),
        (errors.BadRequestData, 400),
        (errors.AlreadyExists, 409),
        (errors.OperationNotSupported, 422),
        (errors.ResourceNotFound, 404),
        (errors.CityError, 500),
        (errors.TooComplexQuery, 403),
        (errors.TooManyResults, 403),
        (errors.LdContextNotAvailable, 504),
        (errors.NoMultiTenantSupport, 501),
        (errors.NonexistentTenant, 404),
    ],
)
def test_the_table_of_the_standard(kind: type[CityError], status: int) -> None:
    assert problems.status(kind()) == status


def test_a_refusal_brings_its_own_members() -> None:
    assert problems.problem(errors.MethodNotAllowed("no", allow="GET"))["allow"] == "GET"
