"""Forms that are parsed in steps: what Python and werkzeug give in one go, and others run."""

from __future__ import annotations

import contextlib
import io
from typing import Any
from urllib.parse import parse_qsl

import pytest
import werkzeug.formparser
from greenlets import hub_scheduler, in_greenlet
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.formparser import parse_form_data
from wsgi import environ

from cooperative_upload.body.request_body import CooperativeInput
from cooperative_upload.forms import urlencoded, werkzeug_patch
from cooperative_upload.settings import UploadSettings

FORM = "application/x-www-form-urlencoded"
ERRORS = "werkzeug.url_quote"

crumbs = st.sampled_from(
    [
        *("%", "%e", "%e4", "%E2%82%AC", "%e2%82", "%f0%9f", "%41", "%00", "%zz", "%4", "%%"),
        *("&", "=", "&&", "+", ";", "a", "\xe4", "\u20ac", "\U0001f600", "\x00", "&a=b", "=&="),
    ]
)
texts = st.lists(st.one_of(crumbs, st.text(max_size=3)), max_size=60).map("".join)


RUNS = {step: urlencoded.runs_of(step) for step in (3, 5, 8, 20)}


@hypothesis_settings(max_examples=300, deadline=None)
@given(texts, st.integers(1, 3), st.sampled_from(list(RUNS)))
def test_as_in_one_go(text: str, times: int, step: int) -> None:
    """Whatever the text is, and wherever it is divided."""
    text *= times
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(urlencoded, "_STEP", step)
        patch.setattr(urlencoded, "_RUN", RUNS[step])
        found = list(urlencoded.pairs_in_steps(text, ERRORS, int))
    assert found == parse_qsl(text, keep_blank_values=True, errors=ERRORS)


FORMS = {
    "many": b"%e4&" * 40_000,
    "one": b"a=" + b"%e4" * 60_000,
    "one name": b"%e2%82%ac" * 20_000,
    "other characters": b"a=" + b"\xc3\xa4%41" * 40_000,
    "not UTF-8": b"a=b&c=\xe4" + b"x" * 100_000,
}


@pytest.mark.usefixtures("werkzeug_restored")
@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)
def test_others_run_meanwhile(data: bytes) -> None:
    """And the form is werkzeug's."""
    expected = parse_form_data(environ(data, CONTENT_TYPE=FORM))[1]
    settings = UploadSettings()
    werkzeug_patch.apply(settings)

    def parse() -> Any:
        stream = CooperativeInput(io.BytesIO(data), len(data), settings)
        return parse_form_data(
            environ(CONTENT_TYPE=FORM, CONTENT_LENGTH=str(len(data)), wsgi_input=stream)
        )[1]

    with hub_scheduler() as scheduler:
        form = in_greenlet(parse)
    assert form == expected
    assert type(form) is type(expected)
    to_read = len(data) // (64 * 1024) + 2
    assert scheduler.statistics().turns > (to_read + 50 if expected else 0)


@pytest.mark.usefixtures("werkzeug_restored")
def test_other_calls_are_left_alone() -> None:
    """Whatever werkzeug may come to ask of it."""
    werkzeug_patch.apply(UploadSettings())
    module: Any = werkzeug.formparser
    assert module.parse_qsl("a=&b=1") == [("b", "1")]
    with contextlib.suppress(ValueError):
        module.parse_qsl("a", strict_parsing=True)
        pytest.fail("it was not strict")
