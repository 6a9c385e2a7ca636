"""Lines of secrets, and how a client answers challenges (RFC 3261, 22; RFC 8760, 2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitschnitt.errors import ConfigError
from mitschnitt.wire.sip.accounts import MAX_LINES, Accounts, Secret, parse_secrets, proof_of
from mitschnitt.wire.sip.digest import Algorithm, Credentials, secret_of
from mitschnitt.wire.sip.message import Headers, Request, Response

REALM, USER, PASSWORD = "pbx.example", "sbc-1", "opensesame"
STRONG = Secret(USER, REALM, Algorithm.SHA256, secret_of(Algorithm.SHA256, USER, REALM, PASSWORD))
WEAK = Secret(USER, REALM, Algorithm.MD5, secret_of(Algorithm.MD5, USER, REALM, PASSWORD))
OTHER = Secret(USER, "proxy.example", Algorithm.SHA256, STRONG.ha1)


def line(secret: Secret) -> str:
    return f"{secret.user}:{secret.realm}:{secret.algorithm}:{secret.ha1}"


def challenge(*fields: str, name: str = "WWW-Authenticate", status: int = 401) -> Response:
    return Response(Headers.of([(name, f"Digest {field}") for field in fields]), b"", status)


def sha(nonce: str, *, realm: str = REALM, more: str = "") -> str:
    return f'realm="{realm}", nonce="{nonce}", algorithm=SHA-256, qop="auth"{more}'


def md5(nonce: str) -> str:
    return f'realm="{REALM}", nonce="{nonce}", algorithm=MD5, qop="auth,auth-int"'


BYE = Request(Headers.of([("Via", "SIP/2.0/UDP a;branch=b"), ("CSeq", "2 BYE")]), b"", "BYE", "sip:a@b")


def given_in(request: Request | None, name: str = "Authorization") -> list[Credentials]:
    assert request is not None
    found = [Credentials.parse(text) for text in request.headers.all(name)]
    return [credentials for credentials in found if credentials]


def test_a_file_of_lines_is_read() -> None:
    text = f"# who may call\n\n{line(STRONG)}\n  {line(WEAK)}  \nother:realm with spaces:md5:{WEAK.ha1.upper()}\n"
    assert parse_secrets(text) == (STRONG, WEAK, Secret("other", "realm with spaces", Algorithm.MD5, WEAK.ha1))
    assert parse_secrets("") == ()


@pytest.mark.parametrize(
    "text, told",
    [
        ("sbc-1", "line 1 must read user:realm:algorithm:hash"),
        ("\nsbc 1:r:MD5:0", "line 2 must read"),
        (":r:MD5:0", "line 1 must read"),
        ('a:r"r:MD5:0', "line 1 must read"),
        ("a:r:SHA-1:00", "the algorithm is SHA-256 or MD5"),
        ("a:r:MD5:password", "a MD5 hash has 32 hexadecimal digits"),
        (f"a:r:SHA-256:{WEAK.ha1}", "a SHA-256 hash has 64 hexadecimal digits"),
        (f"{line(STRONG)}\n" * (MAX_LINES + 1), f"at most {MAX_LINES} lines"),
    ],
)
def test_a_line_that_is_wrong_is_refused_without_what_it_holds(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        parse_secrets(text)
    assert "password" not in str(caught.value)


@given(st.text(max_size=100))
def test_any_text_is_lines_or_a_config_error(text: str) -> None:
    try:
        found = parse_secrets(text)
    except ConfigError:
        found = ()
    assert all(secret.user and secret.realm for secret in found)


def test_a_challenge_is_answered_over_method_and_uri() -> None:
    again = Accounts([STRONG]).answered(BYE, challenge(sha("n", more=', opaque="o"')), "mine")
    (given,) = given_in(again)
    expected = Credentials(USER, REALM, "n", "sip:a@b", given.response, Algorithm.SHA256, "o", "auth", "mine", 1)
    assert given == expected
    assert given.response == given.expected(STRONG.ha1, "BYE")


def test_of_two_challenges_the_stronger_is_answered_in_whatever_order_they_stand() -> None:
    for fields in ([md5("weak"), sha("strong")], [sha("strong"), md5("weak")]):
        (given,) = given_in(Accounts([WEAK, STRONG]).answered(BYE, challenge(*fields), "c"))
        assert (given.nonce, given.algorithm) == ("strong", Algorithm.SHA256)


def test_md5_is_answered_only_with_an_account_for_it() -> None:
    assert Accounts([STRONG]).answered(BYE, challenge(md5("n")), "c") is None
    (given,) = given_in(Accounts([WEAK]).answered(BYE, challenge(sha("m"), md5("n")), "c"))
    assert (given.nonce, given.algorithm) == ("n", Algorithm.MD5)


def test_a_proxy_and_the_peer_behind_it_are_both_answered() -> None:
    accounts = Accounts([STRONG, OTHER])
    asked = challenge(sha("p", realm="proxy.example"), name="Proxy-Authenticate", status=407)
    first = accounts.answered(BYE, asked, "c")
    assert first is not None
    second = accounts.answered(first, challenge(sha("n")), "c")
    assert [given.nonce for given in given_in(second, "Proxy-Authorization")] == ["p"]
    assert [given.nonce for given in given_in(second)] == ["n"]


def test_an_old_peer_without_qop_is_answered_as_rfc_2069_has_it() -> None:
    (given,) = given_in(Accounts([WEAK]).answered(BYE, challenge(f'realm="{REALM}", nonce="n"'), "c"))
    assert (given.qop, given.cnonce, given.count) == ("", "", 0)
    assert given.response == given.expected(WEAK.ha1, "BYE")


def test_a_second_refusal_is_final_and_an_old_nonce_is_not() -> None:
    accounts = Accounts([STRONG])
    first = accounts.answered(BYE, challenge(sha("n")), "c")
    assert first is not None
    assert accounts.answered(first, challenge(sha("other")), "c") is None
    assert accounts.answered(first, challenge(sha("n", more=", stale=true")), "c") is None
    (given,) = given_in(accounts.answered(first, challenge(sha("new", more=", stale=true")), "c"))
    assert given.nonce == "new"


@pytest.mark.parametrize(
    "response",
    [
        challenge(sha("n", realm="another.example")),
        challenge(f'realm="{REALM}", nonce="n", algorithm=SHA-256, qop="auth-int"'),
        challenge(f'realm="{REALM}"'),
        challenge(sha("n") + "".join(f",f{number}=1" for number in range(70))),
        challenge(sha("n"), name="Proxy-Authenticate"),
        challenge(sha("n"), status=403),
        Response(Headers.of([("WWW-Authenticate", f'Basic realm="{REALM}"')]), b"", 401),
        Response(Headers(), b"", 401),
    ],
    ids=[
        "another realm",
        "auth-int only",
        "no nonce",
        "too many fields",
        "the other field",
        "no challenge",
        "Basic",
        "nothing asked",
    ],
)
def test_what_cannot_be_answered_is_final(response: Response) -> None:
    assert Accounts([STRONG]).answered(BYE, response, "c") is None
    assert Accounts().answered(BYE, response, "c") is None


def test_two_accounts_for_one_realm_are_refused() -> None:
    assert len(Accounts([STRONG, WEAK, OTHER])) == 3
    with pytest.raises(ConfigError, match=r"two accounts for realm pbx\.example and SHA-256"):
        Accounts([STRONG, STRONG])


def test_the_proof_of_a_request_is_what_its_ack_repeats() -> None:
    again = Accounts([STRONG]).answered(BYE, challenge(sha("n")), "c")
    assert again is not None
    ((name, text),) = proof_of(again)
    assert (name, text) == ("Authorization", again.headers.get("Authorization"))
    assert proof_of(BYE) == ()
