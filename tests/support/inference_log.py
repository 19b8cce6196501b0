"""The addresses and event types of KServe's inference logger."""

from tidemark.api.cloud_events.event import REQUEST_TYPES, RESPONSE_TYPES

URL = "/observe/cloudevents"
REQUEST, RESPONSE = REQUEST_TYPES[0], RESPONSE_TYPES[0]
