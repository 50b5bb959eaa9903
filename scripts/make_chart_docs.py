"""``python scripts/make_chart_docs.py [--check]``: the chart's README from the values' schema.

The schema says what every value is and may be, values.yaml what it is by default; the README is
both as a table. ``--check`` says whether it is in step.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).resolve().parents[1] / "helm/flashtalk"
_HEAD = """# The chart

FlashTalk on Kubernetes 1.20 and later: gateway, audio encoder, DiT worker, VAE decoder, and a Redis
for trials. [docs/operations.md](../../docs/operations.md) is the guide; this page lists all values.
It is made by `python scripts/make_chart_docs.py` from `values.schema.json` and `values.yaml`.

```sh
helm install flashtalk helm/flashtalk -f helm/flashtalk/profiles/tiny.yaml --wait
helm test flashtalk --logs
```

| profile | for |
|---|---|
"""


def profiles() -> Iterator[str]:
    """A row for each file of values; its first line says what it is for."""
    for path in sorted((CHART / "profiles").glob("*.yaml")):
        said = path.read_text().splitlines()[0].removeprefix("# ")
        yield f"| `profiles/{path.name}` | {said} |"


def rows(schema: dict[str, Any], values: dict[str, Any], path: str = "") -> Iterator[str]:
    """A row for each value that is no object of the schema."""
    for name, about in schema["properties"].items():
        place = f"{path}{name}"
        if "properties" in about:
            yield from rows(about, values[name], f"{place}.")
        elif name in values:
            default = json.dumps(values[name])
            yield f"| `{place}` | `{default}` | {about['description']}{allowed(about)} |"


def allowed(about: dict[str, Any]) -> str:
    """The bounds of a value, in words."""
    if "enum" in about:
        return f" ({', '.join(about['enum'])})"
    if "minimum" in about:
        return f" ({about['minimum']} to {about['maximum']})"
    return ""


def page() -> str:
    """The README."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    table = ["", "| value | default | what it is |", "|---|---|---|", *rows(schema, values)]
    return _HEAD + "\n".join([*profiles(), *table]) + "\n"


def main(arguments: list[str]) -> int:
    """Writes it; 1 if it is only to be checked and not in step."""
    readme, made = CHART / "README.md", page()
    if arguments != ["--check"]:
        readme.write_text(made)
        return 0
    if readme.exists() and readme.read_text() == made:
        return 0
    print("helm/flashtalk/README.md: not in step; run python scripts/make_chart_docs.py")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
