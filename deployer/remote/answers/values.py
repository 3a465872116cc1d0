"""The values that answers hold, each within its bounds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from deployer.wire.protocol import DIGEST, MOST_MOMENT, MOST_NUMBER, RELEASE

MOST_SECONDS = 1e9
MOST_COUNT = 1 << 62
JOB_ID = r"\A[0-9]{0,8}\Z"

Moment = Annotated[float, Meta(ge=0, le=MOST_MOMENT)]
"""Seconds since 1970."""
Seconds = Annotated[float, Meta(ge=-MOST_SECONDS, le=MOST_SECONDS)]
Count = Annotated[int, Meta(ge=0, le=MOST_COUNT)]
Number = Annotated[int, Meta(ge=1, le=MOST_NUMBER)]
Name = Annotated[str, Meta(pattern=rf"\A(?:{RELEASE.pattern})?\Z")]
"""Of a release; empty for none."""
JobId = Annotated[str, Meta(pattern=JOB_ID)]
Digest = Annotated[str, Meta(pattern=rf"\A{DIGEST.pattern}")]
