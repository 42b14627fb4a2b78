"""The JSON Schema of scenarios is the one in the documentation."""

from __future__ import annotations

import json
from pathlib import Path

from iscsim.faults.kinds import catalogue
from iscsim.lab.schema import scenario_schema
from iscsim.lab.tables import STEPS

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "scenario.schema.json"


def test_documented_schema_is_that_of_the_code() -> None:
    assert json.loads(PAGE.read_text(encoding="utf-8")) == scenario_schema()


def test_schema_knows_every_step_and_fault() -> None:
    properties = scenario_schema()["properties"]
    steps = [step["properties"]["do"]["const"] for step in properties["step"]["items"]["oneOf"]]
    assert steps == list(STEPS)
    assert properties["fault"]["items"]["properties"]["name"]["enum"] == sorted(catalogue())
