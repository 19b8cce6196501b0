"""The decisions between evidence and alert, as plain functions of measured values."""

import datetime as dt

from ..alerts.alert_draft import Certainty, Severity
from ..drift.views import Leading
from .stored_report import StoredReport

UNNAMED = ("none", "unknown")  # kinds of a window that say nothing of what changed
MIN_ALARM_ROWS = 50  # predictions after the change from which its kind is named
MIN_LABEL_ROWS = 150  # predictions after the change from which it is named a label shift; fewer hide darker images
EXPLAINED = 0.2  # p-value of the residual test above which another mix of classes surely explains a window
MIN_SURE_ROWS = 150  # predictions of a window whose named kind counts as sure
MAX_WAIT_FOR_ROWS = dt.timedelta(seconds=10)  # wait after a detection until the alarm is sent with fewer predictions
MAX_WAIT_FOR_REPORT = dt.timedelta(seconds=20)  # wait after the request of a window until the alarm is sent without it
QUIET_DELAYS = 3  # an incident ends after so many times the delay of its alarm without evidence
LONG_QUIET = dt.timedelta(days=7)  # time without evidence after which one delay of the alarm is enough instead
LONGEST_QUIET = dt.timedelta(days=14)  # time without evidence after which no number of predictions is needed
MIN_QUIET = 20  # predictions without evidence that the end of every incident needs
LOW_EVIDENCE = 0.5  # share of the threshold below which the evidence must lie at the end of an incident
REOPEN_WITHIN = dt.timedelta(hours=1)  # time after its resolution in which an incident that returns is reopened


def enough_rows(since_change: int, detected_at: dt.datetime, now: dt.datetime) -> bool:
    """Check whether enough predictions have come since the change to name its kind, or the wait is over."""
    return since_change >= MIN_ALARM_ROWS or now - detected_at >= MAX_WAIT_FOR_ROWS


def decisive(report: StoredReport, since_change: int, detected_at: dt.datetime, now: dt.datetime) -> bool:
    """Check whether the kind that a report names can be sent, or the wait for more predictions is over.

    A small window of changed images can often be explained by another mix of classes: a label shift is named only
    from more predictions.
    """
    if now - detected_at >= MAX_WAIT_FOR_ROWS or since_change >= MIN_LABEL_ROWS:
        return True
    if not report.tested:
        return False
    residual = report.window.tests.get("residual")
    is_explained = residual is not None and residual.p_value > EXPLAINED
    return report.window.kind not in ("none", "label") or (report.window.kind == "label" and is_explained)


def named_kind(report: StoredReport | None, leading: str, has_labels: bool) -> str:
    """Return the kind of an alarm: the report's, or if its window names none, that of the leading view.

    A window that is compared with accepted traffic, which has no true labels, names none either, though the reference
    behind it has labels.

    `leading` is what carries the detector's evidence: soft label counts see a label shift, repeats the same images
    again and again, the others a covariate shift.
    """
    if leading == Leading.REPEATS:
        return "repeats"
    unnamed = ("none", "unknown") if has_labels else ("none",)
    if report is not None and report.tested and report.window.kind not in unnamed:
        return str(report.window.kind)
    return "label" if Leading.parse(leading) == Leading.SOFT_LABEL else "covariate"


def certainty_of(report: StoredReport | None) -> Certainty:
    """Return how sure the kind is that a report names."""
    if report is None or not report.tested or not report.window.drifted or report.window.kind in UNNAMED:
        return "likely"
    return "sure" if report.window.size >= MIN_SURE_ROWS else "likely"


def severity_of(report: StoredReport | None, page_below: float | None) -> Severity:
    """Return "page" if the lower end of the estimated accuracy has crossed `page_below`, else "ticket"."""
    low = None if report is None else report.lowest_accuracy
    return "page" if low is not None and page_below is not None and low < page_below else "ticket"


def severity_of_labels(harmful: bool, low: float, page_below: float | None) -> Severity:
    """Return "page" if the lower end of the measured accuracy has crossed `page_below`, else "ticket".

    Without `page_below` an accuracy that fell by more than the tolerance pages.
    """
    is_page = harmful if page_below is None else low < page_below
    return "page" if is_page else "ticket"


def is_over(quiet: int, elapsed: dt.timedelta, delay: int, reopened: int, usual: int, has_returned: bool) -> bool:
    """Check whether the detector has been quiet for long enough to end an incident.

    A drift as large as the one that was detected alarms again after about as many predictions as the first time. Three
    times as many therefore end the incident; each reopening doubles the number. If the traffic is known to have left
    the drifted state, as many as the alarm took are enough, and three times the least number where that took very
    long. After a week as many as the alarm took are enough, and after two weeks any number, so that incidents of slow
    streams and of small drifts do not stay open for long after their end.

    Parameters
    ----------
    quiet : int
        The predictions since the detector's last alarm.
    elapsed : timedelta
        The time since then.
    delay : int
        The predictions from the change to the first alarm.
    reopened : int
        How often the incident came back.
    usual : int
        The least number for a drift that was detected at once.
    has_returned : bool
        Whether the detector of further shifts has alarmed and a window since then looks like the baseline.
    """
    needed = min(delay, QUIET_DELAYS * usual) if has_returned else QUIET_DELAYS * delay
    if quiet >= max(needed, usual) << min(reopened, 16):
        return True
    if quiet < MIN_QUIET or elapsed < LONG_QUIET:
        return False
    return quiet >= delay or elapsed >= LONGEST_QUIET


def further_kind(report: StoredReport, previous: str | None, present: str) -> str | None:
    """Return another kind than the present one that two windows in a row name, or None."""
    kind = str(report.window.kind)
    is_other = report.tested and report.window.drifted and kind not in (*UNNAMED, present)
    return kind if is_other and kind == previous else None
