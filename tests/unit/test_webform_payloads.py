"""What form tools post: every shipped example reads its tool's payload, and a wrong one is refused by field."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from providers.received import Received
from providers.webform.bodies import read_body
from providers.webform.client import load_form, load_forms
from providers.webform.mapping import FormMapping, read_mapping
from providers.webform.payloads import Submission, parse_submission
from sync.domain import Attendee, Interval
from sync.errors import Malformed

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "forms"
PAYLOADS = ROOT / "tests" / "fixtures" / "webform"
NAMES = sorted(file.stem for file in PAYLOADS.glob("*.json"))
ANN = (Attendee("Ann Onymous", "ann@prospect.example"),)
HALF_PAST_TWO = datetime(2027, 3, 8, 14, 30, tzinfo=UTC)


def mapping_of(name: str) -> FormMapping:
    return read_mapping(EXAMPLES / f"{name}.yaml")


def payload_of(name: str) -> Any:  # noqa: ANN401 - JSON
    """As the tool has it, before it is encoded."""
    return json.loads((PAYLOADS / f"{name}.json").read_text())


def parsed(name: str, payload: Any) -> Submission:  # noqa: ANN401 - JSON
    mapping = mapping_of(name)
    if mapping.content == "json":
        body, content_type = json.dumps(payload).encode(), "application/json"
    else:
        body, content_type = urlencode(payload).encode(), "application/x-www-form-urlencoded"
    return parse_submission(name, mapping, read_body(mapping, content_type, body))


def lasting(minutes: int, start: datetime = HALF_PAST_TWO) -> Interval:
    return Interval(start, start + timedelta(minutes=minutes))


def test_every_example_has_a_payload_and_the_other_way_round() -> None:
    assert sorted(file.stem for file in EXAMPLES.glob("*.yaml")) == NAMES
    assert len(NAMES) == 6


@pytest.mark.parametrize(
    "expected",
    [
        Submission(
            "typeform", "a3a12ec67a1365927098a606107fac15", "dana", lasting(30), "Wooden boats with Ann Onymous", ANN
        ),
        Submission("tally", "LQy7MJ", "dana", lasting(45), "Demo with Ann Onymous", ANN),
        Submission("jotform", "6084250982513018472", "ben", lasting(30), "Consultation: Ann Onymous", ANN),
        Submission(
            "gravity-forms",
            "134",
            "dana",
            lasting(60, datetime(2027, 3, 8, 20, 30, tzinfo=UTC)),
            "Call with Ann Onymous",
            ANN,
        ),
        Submission("hubspot", "1f9e2b64-7c11", "dana", lasting(30), "Demo with Ann Onymous", ANN),
        Submission("html", "7d0f0a5e-6c64-4e0a-9b6f-1f3c8d2e9a10", "dana", lasting(30), "Visit of Ann Onymous", ANN),
    ],
    ids=lambda expected: expected.form,
)
def test_an_example_reads_its_tools_payload(expected: Submission) -> None:
    assert parsed(expected.form, payload_of(expected.form)) == expected


PLAIN: dict[str, Any] = {
    "open": True,
    "agent": "dana",
    "zone": {"path": "zone"},
    "start": "start",
    "end": "end",
    "title": "Demo",
    "id": "id",
}
ANSWERS: dict[str, Any] = {
    "id": 7,
    "zone": "Europe/Berlin",
    "start": "2027-03-08T15:30",
    "end": "2027-03-08T16:00",
}


def read(answers: dict[str, Any], **changes: Any) -> Submission:  # noqa: ANN401 - as YAML has it
    plain = {name: value for name, value in (PLAIN | changes).items() if value is not None}
    return parse_submission("plain", FormMapping.model_validate(plain), ANSWERS | answers)


def refused(answers: dict[str, Any], **changes: Any) -> tuple[str, str]:  # noqa: ANN401 - as YAML has it
    with pytest.raises(Malformed) as error:
        read(answers, **changes)
    return error.value.field, error.value.reason


@pytest.mark.parametrize(
    ("start", "zone"),
    [
        ("2027-03-08T15:30", "Europe/Berlin"),
        ("2027-03-08T15:30:00", "Europe/Berlin"),
        (" 2027-03-08 15:30 ", "Europe/Berlin"),
        ("2027-03-08T15:30", "W. Europe Standard Time"),
        ("2027-03-08T09:30", "America/New_York (GMT-04:00)"),
        ("2027-03-08T20:15", "Asia/Kathmandu (GMT+06:30)"),
        ("2027-03-08T15:30", "+01:00"),
        ("2027-03-08T09:30", "UTC-5"),
        ("2027-03-08T09:30", "-0500"),
        ("2027-03-08T14:30", "Z"),
        ("2027-03-08T14:30", "UTC"),
        ("2027-03-08T14:30:00Z", "nowhere"),
        ("2027-03-08T15:30:00.000+01:00", "nowhere"),
        ("2027-03-08T09:30-0500", "nowhere"),
    ],
)
def test_a_time_is_read_where_it_was_meant(start: str, zone: str) -> None:
    found = read({"start": start, "zone": zone, "end": "2027-03-08T16:00:00Z"})
    assert found.interval.start == HALF_PAST_TWO


@pytest.mark.parametrize(
    ("answers", "field", "reason"),
    [
        ({"start": "2027-03-28T02:30"}, "start", "skips"),
        ({"start": "2027-10-31T02:30"}, "start", "twice"),
        ({"start": "2027-03-08T14:30", "end": "2027-10-31T02:30"}, "end", "more than|twice"),
        ({"start": "2027-03-08"}, "start", "is not a date and time"),
        ({"start": "next Monday"}, "start", "is not a date and time"),
        ({"start": None}, "start", "is missing"),
        ({"start": 1804516200000}, "start", "is not text"),
        ({"start": "2027-02-30T15:30"}, "start", "exists"),
        ({"start": "1027-03-08T15:30"}, "start", "implausible"),
        ({"end": "2027-03-08T15:30"}, "end", "after start"),
        ({"end": "2027-03-08T15:00"}, "end", "after start"),
        ({"end": "2027-05-08T15:00"}, "end", "more than 31 days"),
        ({"zone": "Europe/Atlantis"}, "zone", "known"),
        ({"zone": "../../etc/passwd"}, "zone", "known"),
        ({"zone": "+25:00"}, "zone", "known"),
        ({"zone": "GMT+5"}, "zone", "known"),
        ({"zone": "x" * 60_000}, "zone", "known"),
        ({"zone": ""}, "zone", "missing"),
        ({"zone": None}, "zone", "missing"),
        ({"zone": ["Europe/Berlin"]}, "zone", "text"),
        ({"id": None}, "id", "missing"),
        ({"id": "a b"}, "id", "printable"),
        ({"id": "x" * 201}, "id", "200"),
        ({"id": 1.5}, "id", "text"),
        ({"id": True}, "id", "text"),
        ({"id": "\ud800"}, "id", "stores"),
    ],
)
def test_a_wrong_answer_is_refused_by_field(answers: dict[str, Any], field: str, reason: str) -> None:
    found = refused(answers)
    assert found[0] == field
    assert any(part in found[1] for part in reason.split("|")), found


def test_a_time_without_zone_or_offset_is_refused() -> None:
    assert refused({}, zone=None) == ("start", "has neither zone nor offset")
    assert read({"start": "2027-03-08T15:30:00+01:00", "end": "2027-03-08T15:00Z"}, zone=None).interval == lasting(30)


def test_the_hour_that_comes_twice_is_read_with_its_offset() -> None:
    times = {"start": "2027-10-31T02:30+02:00", "end": "2027-10-31T02:30+01:00"}
    assert read(times).interval == lasting(60, datetime(2027, 10, 31, 0, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    ("day", "clock", "formats", "field"),
    [
        ("2027-03-08", "15:30", {}, None),
        ("2027-03-08", "15:30:00", {}, None),
        ("8.3.2027", "3:30 pm", {"date_format": "%d.%m.%Y", "clock_format": "%I:%M %p"}, None),
        ("March 8, 2027", "15:30", {"date_format": "%B %d, %Y"}, None),
        ("03/08/2027", "15:30", {"date_format": "%d.%m.%Y"}, "start.date"),
        ("03/08/2027", "15:30", {}, "start.date"),
        ("2027-03-08", "3:30 pm", {}, "start.clock"),
        ("2027-03-08", "25:30", {}, "start"),
        ("0027-03-08", "15:30", {"date_format": "%Y-%m-%d"}, "start.date"),
        ("", "15:30", {}, "start.date"),
        ("2027-03-08", "", {}, "start.clock"),
        ("2027-03-28", "02:30", {}, "start"),
    ],
)
def test_date_and_time_of_day_come_apart(day: str, clock: str, formats: dict[str, str], field: str | None) -> None:
    start = {"date": "day", "clock": "clock", **formats}
    answers = {"day": day, "clock": clock}
    if field is None:
        assert read(answers, start=start).interval == lasting(30)
    else:
        assert refused(answers, start=start)[0] == field


def test_milliseconds_are_asked_for_and_never_guessed() -> None:
    ms = {"at": "start", "format": "epoch_ms"}
    assert read({"start": 1804516200000}, start=ms).interval == lasting(30)
    assert read({"start": "1804516200000"}, start=ms).interval == lasting(30)
    assert refused({"start": "2027-03-08T15:30"}, start=ms)[0] == "start"


@pytest.mark.parametrize("minutes", ["0", "-30", "x", "99999", "30.5", None, [30], "٣٠"])
def test_a_duration_is_whole_minutes(minutes: object) -> None:
    assert refused({"minutes": minutes}, end=None, minutes={"path": "minutes"})[0] == "minutes"
    assert read({"minutes": 30}, end=None, minutes={"path": "minutes"}).interval == lasting(30)


def test_an_agent_is_one_of_the_names() -> None:
    named = {"path": "who", "names": {"Ben Braun": "ben"}}
    assert read({"who": " Ben  Braun "}, agent=named).agent == "ben"
    assert refused({"who": "ben"}, agent=named) == ("agent", "is none of the names in the mapping")
    assert refused({"who": "Ben Braun"}, agent={"path": "who"}) == ("agent", "is not an agent's slug")


def test_a_title_is_one_line_and_ends_in_time() -> None:
    fields = {"about": "about"}
    assert read({"about": "a\n\tb"}, title="{about} {{x}} {form}", fields=fields).title == "a b {x} plain"
    assert read({"about": "{name.__class__}"}, title="{about}", fields=fields).title == "{name.__class__}"
    long = read({"about": "x" * 999}, title="{about}", fields=fields).title
    assert (len(long), long[-1]) == (300, "…")
    assert refused({}, title="{about}", fields=fields) == ("title", "is empty")
    assert refused({"about": "a\0b"}, title="{about}", fields=fields)[0] == "about"


@pytest.mark.parametrize(
    "email", ["ann", "", None, "ann@", "a b@c.example", "x" * 320 + "@c.example", ["ann@c.example"]]
)
def test_an_address_is_one(email: object) -> None:
    assert refused({"email": email}, email="email")[0] == "email"


def test_a_reason_never_quotes_an_answer() -> None:
    for field in ("start", "end", "zone", "id"):
        assert "secret" not in refused({field: "secret cellar \ud800"})[1]


BODIES: list[tuple[str, bytes, str]] = [
    ("application/json", b"{", "is not JSON"),
    ("application/json", b"\xff\xfe", "is not UTF-8"),
    ("application/json", b'{"id": NaN}', "is not JSON"),
    ("application/json", b"[" * 60_000, "is not JSON"),
    ("application/x-www-form-urlencoded", b"id=%ff", "is not a form"),
    ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 1001), "too many"),
    ("multipart/form-data", b"--x\r\n\r\n", "multipart"),
    ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="id"\r\n\r\n7', "multipart"),
]


@pytest.mark.parametrize(("content_type", "body", "reason"), BODIES)
def test_a_body_that_is_not_what_it_says_is_refused(content_type: str, body: bytes, reason: str) -> None:
    content = "json" if "json" in content_type else "form"
    mapping = FormMapping.model_validate(PLAIN | {"content": content})
    with pytest.raises(Malformed) as error:
        read_body(mapping, content_type, body)
    assert error.value.field == "body"
    assert reason in error.value.reason


def test_a_multipart_form_has_fields_and_no_files() -> None:
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="raw"\r\n\r\n{"a": "\xc3\xa4"}\r\n',
        b'--x\r\nContent-Disposition: form-data; name="who"\r\n\r\nann\r\n',
        b'--x\r\nContent-Disposition: form-data; name="who"\r\n\r\nben\r\n',
        b'--x\r\nContent-Disposition: form-data; name="cv"; filename="cv.pdf"\r\n\r\n%PDF\r\n',
        b"--x--\r\n",
    ]
    mapping = FormMapping.model_validate(PLAIN | {"content": "form", "json_fields": ["raw"]})
    body = read_body(mapping, 'multipart/form-data; boundary="x"', b"".join(parts))
    assert body == {"raw": {"a": "ä"}, "who": ["ann", "ben"]}


WRONG_MAPPINGS: list[tuple[dict[str, Any], str, str]] = [
    ({"colour": "red"}, "colour", "Extra"),
    ({"open": False}, "", "exactly one of signature, token, open"),
    ({"token": {"query": "t", "secret_env": "A"}}, "", "exactly one of signature, token, open"),
    ({"agent": None}, "agent", "exactly one"),
    ({"agent": "Dana!"}, "agent.slug", "pattern"),
    ({"agent": {"slug": "dana", "names": {"a": "b"}}}, "agent", "names without path"),
    ({"zone": "Mars/Olympus"}, "zone.fixed", "known zone"),
    ({"start": "a["}, "start.at", "JMESPath"),
    ({"start": "shout(a)"}, "start.at", "JMESPath"),
    ({"start": {"date": "a"}}, "start", "either at, or date and clock"),
    ({"start": {"at": "a", "clock": "b"}}, "start", "either at, or date and clock"),
    ({"start": {"at": "a", "format": "%Y"}}, "start.format", "epoch_ms"),
    ({"start": {"at": "a", "date_format": "%Y-%m-%d"}}, "start", "format"),
    ({"start": {"date": "a", "clock": "b", "date_format": "%y-%m-%d"}}, "start.date_format", "%Y"),
    ({"start": {"date": "a", "clock": "b", "clock_format": "%I:%M"}}, "start.clock_format", "%p"),
    ({"minutes": 30}, "", "exactly one of end, minutes"),
    ({"end": None, "minutes": 0}, "minutes.fixed", "greater"),
    ({"end": None, "minutes": "30"}, "minutes.fixed", "integer"),
    ({"title": "{who}"}, "", "title names who"),
    ({"title": "{name.x}"}, "", "plain name"),
    ({"title": "{name!r}"}, "", "plain name"),
    ({"title": "{"}, "", "Single"),
    ({"title": ""}, "title", "at least 1"),
    ({"id": None}, "id", "valid string"),
    ({"json_fields": ["raw"]}, "", "content: form"),
    ({"redirect": "javascript:alert(1)"}, "redirect", "pattern"),
    ({"redirect": "//evil.example"}, "redirect", "pattern"),
    ({"redirect": "/thanks\r\nX: y"}, "redirect", "pattern"),
]
SIGNATURE = {"header": "X-Signature", "encoding": "hex", "secret_env": "FORM_SECRET"}
WRONG_SIGNATURES: list[tuple[dict[str, Any], str, str]] = [
    ({"secret_env": "hunter2 is my password"}, "signature.secret_env", "pattern"),
    ({"secret": "hunter2"}, "signature.secret", "Extra"),
    ({"secret_env": None}, "signature", "exactly one of secret_env, secret_file"),
    ({"encoding": "md5"}, "signature.encoding", "hex"),
    ({"header": "X Signature"}, "signature.header", "pattern"),
    ({"signed": "{url}"}, "signature", "{body} once"),
    ({"signed": "{body}{body}"}, "signature", "{body} once"),
    ({"signed": "{body}{colour}"}, "signature", "colour"),
    ({"signed": "{timestamp}.{body}"}, "signature", "timestamp"),
    ({"timestamp": {"header": "X-Time"}}, "signature", "timestamp"),
]


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        *WRONG_MAPPINGS,
        *(({"open": False, "signature": SIGNATURE | changes}, *told) for changes, *told in WRONG_SIGNATURES),
    ],
)
def test_a_wrong_mapping_is_refused_by_file_and_field(
    tmp_path: Path, changes: dict[str, Any], field: str, reason: str
) -> None:
    file = tmp_path / "plain.yaml"
    file.write_text(yaml.safe_dump(PLAIN | changes))
    with pytest.raises(Malformed) as error:
        read_mapping(file)
    assert error.value.field == ": ".join(part for part in ("plain.yaml", field) if part), error.value
    assert reason in error.value.reason
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("content", ["", "[", "- a", "open: true\nopen: true", "\0", "a: !!python/object:os.system {}"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "plain.yaml"
    file.write_text(content)
    with pytest.raises(Malformed, match=r"plain\.yaml"):
        read_mapping(file)


def test_a_broken_mapping_takes_down_its_own_form_only(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(PLAIN))
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(PLAIN | {"colour": "red"}))
    (tmp_path / "Bad Name.yaml").write_text(yaml.safe_dump(PLAIN))
    signed = {"open": False, "signature": SIGNATURE}
    (tmp_path / "secretless.yaml").write_text(yaml.safe_dump(PLAIN | signed))
    forms = load_forms(tmp_path, secrets=tmp_path, env={"FORM_SECRET": "short"})
    assert (set(forms.known), set(forms.broken)) == ({"good"}, {"bad", "Bad Name", "secretless"})
    assert "secretless.yaml: signature.secret_env" in forms.broken["secretless"]
    assert not load_forms(None, secrets=tmp_path, env={}).known


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "form_secret").write_text("0123456789abcdef\n")
    token = {"open": False, "token": {"header": "X-Token", "secret_file": "form_secret"}}
    (tmp_path / "plain.yaml").write_text(yaml.safe_dump(PLAIN | token))
    form = load_form(tmp_path / "plain.yaml", secrets=tmp_path, env={})
    assert "0123456789abcdef" not in repr(form)
    for told, objection in (("0123456789abcdef", None), ("0123456789abcdeg", "wrong_token"), ("", "no_token")):
        delivery = Received(headers={"X-Token": told}, query={}, body=b"", url="")
        assert form.objection(delivery, now=HALF_PAST_TWO) == objection
    (tmp_path / "form_secret").unlink()
    with pytest.raises(Malformed, match=r"token\.secret_file"):
        load_form(tmp_path / "plain.yaml", secrets=tmp_path, env={})


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place inside a JSON value."""
    inner: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(place for step, below in inner for place in places(below, (*path, step)))]


def changed(value: Any, path: tuple[str | int, ...], junk: object) -> Any:  # noqa: ANN401 - JSON
    if not path:
        return junk
    value = copy.copy(value)
    value[path[0]] = changed(value[path[0]], path[1:], junk)
    return value


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.sampled_from(
        ["2027-03-28T02:30", "2027-10-31 02:30", "9999-12-31T23:59", "0001-01-01", "24:00", "\0", "\ud800"]
    ),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)


@given(name=st.sampled_from(NAMES), data=st.data(), other=junk)
def test_whatever_is_sent_is_understood_or_refused_by_field(name: str, data: st.DataObject, other: object) -> None:
    payload = payload_of(name)
    if "rawRequest" in payload:
        payload["rawRequest"] = json.loads(payload["rawRequest"])
    payload = changed(payload, data.draw(st.sampled_from(places(payload))), other)
    found: Submission | Malformed
    try:
        found = parse_submission(name, mapping_of(name), payload)
    except Malformed as error:
        found = error
    if isinstance(found, Malformed):
        assert found.field
        assert found.reason
    else:
        assert found.interval.start.tzinfo is UTC
        assert found.title


@given(body=st.binary(max_size=200), name=st.sampled_from(NAMES))
def test_whatever_bytes_are_sent_are_refused_by_field(body: bytes, name: str) -> None:
    mapping = mapping_of(name)
    for content_type in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=0"):
        with pytest.raises(Malformed):
            parse_submission(name, mapping, read_body(mapping, content_type, body))
