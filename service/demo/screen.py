"""The terminal of the demo: planted shifts, evidence, and what was detected."""

import sys
from types import TracebackType
from typing import TypedDict

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .receiver import Received
from .stages import Stage, StageOutcome


class StreamProgress(TypedDict, total=False):
    """The fields of a stream in `/drift` that the demo shows."""

    state: str
    evidence: float | None
    threshold: float | None
    predictions: int


BAR = 24  # characters of the evidence bar


class Screen:
    """Prints lines as stages end and, on a terminal, one line that lives; on standard error when `quiet`."""

    def __init__(self, quiet: bool) -> None:
        self._console = Console(file=sys.stderr if quiet else sys.stdout, highlight=False)
        self._live = Live(console=self._console, transient=True, refresh_per_second=8)

    def __enter__(self) -> "Screen":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._live.is_started:
            self._live.stop()

    def write(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, style="dim")

    def stage(self, stage: Stage) -> None:
        """Announce a stage."""
        planted_text = "nothing planted" if stage.kind == "none" else f"planted: {stage.kind} shift"
        self._console.print(f"\n[bold]{stage.title}[/bold]  ({planted_text})")

    def progress(self, stage: Stage, sent: int, state: StreamProgress) -> None:
        """Show the evidence while a stage runs."""
        if not self._live.is_started:
            return
        evidence, threshold = state.get("evidence") or 0.0, state.get("threshold") or 1.0
        filled = min(BAR, max(0, round(BAR * evidence / threshold)))
        line = Text(f"  {sent:5d} predictions   evidence ")
        line.append("█" * filled, style="red" if filled >= BAR else "cyan").append("░" * (BAR - filled), style="dim")
        line.append(f" {evidence:6.2f} of {threshold:.2f}   {state.get('state', '')}")
        self._live.update(line)

    def outcome(self, outcome: StageOutcome) -> None:
        """Print the outcome of a stage."""
        mark = "[green]ok[/green]" if outcome.ok else "[red]NOT OK[/red]"
        if outcome.kind is None:
            silence_text = "silent" if outcome.stage.kind == "none" else "not detected"
            self._console.print(f"  {mark}  {silence_text}")
        else:
            self._console.print(
                f"  {mark}  {outcome.kind} shift, {outcome.predictions} predictions after it was planted"
            )
            self._console.print(f"      {outcome.summary}", markup=False)

    def verdict(self, ok: bool, received: list[Received]) -> None:
        """Print the webhooks that arrived, and whether every stage went as planned."""
        table = Table(title="webhooks received, signatures verified", title_justify="left", box=None)
        for column in ("type", "kind", "since", "id"):
            table.add_column(column)
        for hook in received:
            data = hook.body["data"]
            table.add_row(hook.body["type"], data["kind"], data["since"][11:19], hook.id)
        self._console.print()
        self._console.print(table)
        self._console.print(
            "\n[green]all shifts detected, named and delivered[/green]"
            if ok
            else "\n[red]not all stages went as planned[/red]"
        )
