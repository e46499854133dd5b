"""Turns pytest's JUnit report into events like those of go test, so that one table counts both."""

from __future__ import annotations

import json
import sys
from xml.etree import ElementTree

for case in ElementTree.parse(sys.stdin).iter("testcase"):  # noqa: S314 (our own file)
    kinds = {child.tag for child in case}
    action = "fail" if kinds & {"failure", "error"} else "skip" if "skipped" in kinds else "pass"
    event = {"Action": action, "Package": case.get("classname", ""), "Test": case.get("name", "")}
    print(json.dumps(event, separators=(",", ":")))
