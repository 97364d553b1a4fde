"""telemetry.redaction: no credential and no path of a caller is left in a text, and all else is."""

from __future__ import annotations

import pytest

from eyasd.telemetry.redaction import fields, place, redacted, without_credentials

SECRET = "hunter2-AKIA/abc+def"


@pytest.mark.parametrize(
    "text",
    [
        f"https://me:{SECRET.replace('/', '')}@host:443/x is away",
        f"GET https://bucket.s3.example/file.jpg?X-Amz-Signature={SECRET}&X-Amz-Date=1 failed",
        f"authorization: Bearer {SECRET}",
        f'{{"token": "{SECRET}"}}',
        f"{{'secret_access_key': '{SECRET}'}}",
        f"password={SECRET}",
        "eyas_hunter2AKIA-_hunter2AKIAhunter2 is whose?",
        "no luck with eyJhbGciOiJSUzI1NiJ9.eyJodW50ZXIyIjoiQUtJQSJ9.hunter2AKIA",
    ],
)
def test_credentials_are_left_out(text: str) -> None:
    shown = without_credentials(text)
    assert "hunter2" not in shown
    assert "AKIA" not in shown
    assert "***" in shown
    assert fields({"a": [text], "b": (text, 3)}) == {"a": [shown], "b": [shown, 3]}


@pytest.mark.parametrize(
    "text",
    [
        "There is no folder '/srv/secret customers/photos': name another.",
        "The picture 'secret/dress 1.jpg' cannot be read.",
        "/srv/secret/a.jpg: permission denied",
        "s3://secret/team/photos has no pictures",
        'nothing in "gs://secret/x?sig=1"',
        "read (/secret) again",
    ],
)
def test_paths_are_told_apart_and_not_told(text: str) -> None:
    shown = redacted(text)
    assert "secret" not in shown
    assert shown == redacted(text)
    assert shown != redacted(text.replace("secret", "hidden"))


@pytest.mark.parametrize(
    "text",
    [
        "The request holds no picture: send 1 to 64.",
        "There is no model 'models/clothing': `eyas models` lists them.",
        "clothing/3 was trained by an Eyas that did not teach it, 5 s/picture and/or more.",
        "The body is text/plain: send a form of files (multipart/form-data), one file (image/*), or application/json.",
        "There is no method TrainingService/Train of datasets/d/versions/3.",
        "The caller's share isn't 1/2 of it.",
    ],
)
def test_all_else_is_left_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_a_place_keeps_its_kind() -> None:
    assert place("datasets/photos/versions/3") == "datasets/photos/versions/3"
    assert place("/srv/photos").startswith("path:")
    assert place("s3://bucket/photos").startswith("s3:")
