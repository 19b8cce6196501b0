"""State that the endpoints of one server process share."""

import threading
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request
from procrastinate import App
from sqlalchemy import Engine

from ..alerts.lifecycle import Alerts
from ..serving.counters import ServerMetrics
from ..serving.feedback import FeedbackLog
from ..serving.model_registry import ModelRegistry
from ..serving.observations import ObservationLog
from ..serving.refusals import RecentRefusals
from ..settings import Settings
from ..spool.spool import Spool
from .bodies.memory_budget import BodyBudget
from .bodies.parsing_pool import ParsingPool
from .cloud_events.recent_events import RecentEvents
from .endpoints.drift_metrics import DriftCollector
from .single_flight import SingleFlight


@dataclass(frozen=True)
class DatabaseState:
    """The state of endpoints and pages that show and change the content of the database."""

    settings: Settings
    engine: Engine
    alerts: Alerts
    queue: App  # the queue of deliveries
    refusals: RecentRefusals


@dataclass(frozen=True)
class ServerState(DatabaseState):
    """The state of a server process from its start to its end."""

    metrics: ServerMetrics
    spool: Spool
    models: ModelRegistry
    observations: ObservationLog
    feedback: FeedbackLog
    database: SingleFlight[str]  # gives what the database can do, in words
    drift_collector: DriftCollector
    drift_metrics: SingleFlight[bytes]
    parsers: ParsingPool
    body_budget: BodyBudget  # memory for the bodies of HTTP requests and the messages of gRPC calls
    recent_events: RecentEvents = field(default_factory=RecentEvents)
    stopping: threading.Event = field(default_factory=threading.Event)  # set by a signal to stop


def database_state(request: Request) -> DatabaseState:
    """Return what a page or an endpoint of the database works with."""
    state: DatabaseState = request.app.state.server
    return state


def server_state(request: Request) -> ServerState:
    """Return the state of the server that has received a request."""
    state: ServerState = request.app.state.server
    return state


State = Annotated[ServerState, Depends(server_state)]
