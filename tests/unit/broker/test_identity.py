"""Who may do what: nothing is granted by a wrong, old or revoked proof, and no secret is kept."""

from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from autocity.broker.identity import DAY, HOUR, PERMISSIONS, PLATFORM, Identities, Identity
from autocity.errors import AlreadyExists, BadRequestData, Forbidden, TooManyRequests, Unauthorized
from autocity.store.memory import MemoryStore

PASSWORD = "correct horse battery"


class Clock:
    """A time that a test moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def identities(store: MemoryStore, clock: Clock) -> Identities:
    return Identities(store, clock)


async def signed_in(identities: Identities, role: str = "editor") -> tuple[str, Identity]:
    await identities.add_user("wei", PASSWORD, role)
    secret, _ = await identities.sign_in("wei", PASSWORD)
    identity = await identities.by_session(secret)
    assert identity is not None
    return secret, identity


async def test_a_user_signs_in_with_the_right_password_only(identities: Identities) -> None:
    _, identity = await signed_in(identities)
    assert identity.subject == "wei"
    assert identity.may("write")
    assert not identity.may("admin")
    for name, password in (("wei", "wrong"), ("nobody", PASSWORD)):
        with pytest.raises(Unauthorized):
            await identities.sign_in(name, password)


async def test_faults_of_a_new_user_are_told_together(identities: Identities) -> None:
    with pytest.raises(BadRequestData) as caught:
        await identities.add_user("W!", "short", "king")
    assert all(word in caught.value.detail for word in ("username", "password", "role"))
    await identities.add_user("wei", PASSWORD, "viewer")
    with pytest.raises(AlreadyExists):
        await identities.add_user("wei", PASSWORD, "viewer")


async def test_guessing_is_slowed_down(identities: Identities) -> None:
    await identities.add_user("wei", PASSWORD, "viewer")
    for _ in range(5):
        with pytest.raises(Unauthorized):
            await identities.sign_in("wei", "wrong")
    with pytest.raises(TooManyRequests):
        await identities.sign_in("wei", PASSWORD)


async def test_a_session_ends_by_sign_out_time_and_switching_off(
    identities: Identities, clock: Clock
) -> None:
    secret, _ = await signed_in(identities)
    await identities.sign_out(secret)
    assert await identities.by_session(secret) is None
    secret, _ = await identities.sign_in("wei", PASSWORD)
    clock.now += 13 * HOUR
    assert await identities.by_session(secret) is None
    secret, _ = await identities.sign_in("wei", PASSWORD)
    assert await identities.by_session(secret) is not None
    await identities.change_user("wei", disabled=True)
    assert await identities.by_session(secret) is None


async def test_a_token_never_may_more_than_its_owner(identities: Identities) -> None:
    _, editor = await signed_in(identities)
    with pytest.raises(BadRequestData, match="scope admin"):
        await identities.issue_token(editor, "gateway", ("read", "admin"))
    text, _ = await identities.issue_token(editor, "gateway", ("read", "write"))
    holder = await identities.by_token(text)
    assert holder is not None
    assert (holder.may("write"), holder.may("subscribe")) == (True, False)
    await identities.change_user("wei", role="viewer")
    holder = await identities.by_token(text)
    assert holder is not None
    assert not holder.may("write")


async def test_a_token_ends_by_time_and_by_revocation(identities: Identities, clock: Clock) -> None:
    _, editor = await signed_in(identities)
    text, token = await identities.issue_token(editor, "gateway", days=1)
    assert await identities.by_token(text) is not None
    assert await identities.by_token(text + "x") is None
    await identities.revoke_token(token.id, editor)
    assert await identities.by_token(text) is None
    text, _ = await identities.issue_token(editor, "gateway", days=1)
    clock.now += 2 * DAY
    assert await identities.by_token(text) is None


async def test_a_token_cannot_make_a_token(identities: Identities) -> None:
    _, editor = await signed_in(identities)
    text, _ = await identities.issue_token(editor, "gateway")
    holder = await identities.by_token(text)
    assert holder is not None
    with pytest.raises(Forbidden):
        await identities.issue_token(holder, "another")


async def test_someone_elses_token_is_safe(identities: Identities) -> None:
    _, token = await identities.issue_token(PLATFORM, "gateway")
    _, editor = await signed_in(identities)
    with pytest.raises(Forbidden):
        await identities.revoke_token(token.id, editor)


async def test_the_set_up_link_works_once(identities: Identities) -> None:
    assert await identities.needs_setup()
    old = await identities.offer_setup()
    secret = await identities.offer_setup()
    with pytest.raises(Forbidden):
        await identities.set_up(old, "root", PASSWORD)
    user = await identities.set_up(secret, "root", PASSWORD)
    assert user.role == "administrator"
    assert not await identities.needs_setup()
    with pytest.raises(Forbidden):
        await identities.set_up(secret, "other", PASSWORD)


async def test_no_secret_is_kept(identities: Identities, store: MemoryStore) -> None:
    secret, editor = await signed_in(identities)
    text, _ = await identities.issue_token(editor, "gateway")
    offer = await identities.offer_setup()
    records = [r for kind in ("user", "session", "token", "setup") for r in await store.records("", kind)]
    kept = b"".join(record.id.encode() + record.body for record in records)
    assert len(records) == 4
    for plain in (PASSWORD, secret, text.rsplit("_", 1)[-1], offer):
        assert plain.encode() not in kept


def test_roles_only_grow() -> None:
    ladder = ["viewer", "operator", "editor", "approver", "administrator"]
    for lower, higher in pairwise(ladder):
        assert PERMISSIONS[lower] < PERMISSIONS[higher]
