"""Who created an object: the mark on everything that a stack creates, and how to read it back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

PART_OF: Final = "app.kubernetes.io/part-of"
INSTANCE: Final = "app.kubernetes.io/instance"
"""Labels of every Kubernetes object: the project, and the stack's namespace, which is <project>-<stack>."""

DNS_COMMENT: Final = "managed by pulumi: invoicetron"
"""Comment on the stack's DNS record up to the release of November 2026; it does not name the stack."""

_MARK: Final = re.compile(r"managed by pulumi: ([\w.-]+)/([\w.-]+)", re.ASCII)
_TITLE: Final = re.compile(r"([A-Z][\w-]*) \(([\w.-]+)\)", re.ASCII)


@dataclass(frozen=True)
class Owner:
    """One stack of one project."""

    project: str
    stack: str

    def __str__(self) -> str:
        return f"{self.project}/{self.stack}"

    @property
    def mark(self) -> str:
        """The text for descriptions and comments."""
        return f"managed by pulumi: {self}"

    @property
    def title(self) -> str:
        """The app's name on its login page, where there is no other place for a mark."""
        return f"{self.project.capitalize()} ({self.stack})"

    @classmethod
    def titled(cls, title: str | None) -> Self | None:
        """The stack that a title names; None if it names none."""
        found = _TITLE.fullmatch(title or "")
        return cls(found[1][0].lower() + found[1][1:], found[2]) if found else None

    @classmethod
    def marked(cls, text: str | None) -> Self | None:
        """The owner that a description or comment names; None if it names none."""
        found = _MARK.search(text or "")
        return cls(*found.groups()) if found else None

    @classmethod
    def of_labels(cls, labels: Mapping[str, str] | None) -> Self | None:
        """The owner that an object's labels name; None if they name none.

        Both labels have to match: Helm and Argo CD set the second one, too.
        """
        project, instance = (labels or {}).get(PART_OF, ""), (labels or {}).get(INSTANCE, "")
        stack = instance.removeprefix(f"{project}-")
        return cls(project, stack) if project and stack and stack != instance else None

    @classmethod
    def of_namespace(cls, namespace: str, *, project: str) -> Self | None:
        """The stack of `project` to which a namespace belongs, by its name; None for any other namespace."""
        stack = namespace.removeprefix(f"{project}-")
        return cls(project, stack) if stack and stack != namespace else None
