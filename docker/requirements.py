"""Print what hrm-serve with some extras needs, without hrm-serve itself: images install it in a layer below the code.

python requirements.py EXTRA...
"""

import re
import sys
import tomllib
from pathlib import Path

OURS = re.compile(r"hrm-serve\[(?P<extras>[\w,-]+)\]")


def requirements(project: dict, extras: list[str]) -> list[str]:
    """The project's own requirements and those of its extras, also of extras that an extra names."""
    found = list(project["dependencies"])
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            ours = OURS.fullmatch(requirement)
            found += requirements(project, ours["extras"].split(",")) if ours else [requirement]
    return sorted(set(found))


project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
print("\n".join(requirements(project, sys.argv[1:])))
