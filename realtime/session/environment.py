"""What all parts of one session share: its name, settings of the server, log, inputs, timers, work, quota, ids, and
the count of its errors."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from realtime.metrics import ErrorTally
from realtime.ports.payer import Payer
from realtime.protocol.ids import Ids
from realtime.session.config import SessionConfig
from realtime.session.context.engine_conversation import EngineConversation
from realtime.session.inputs import EventSent, InputQueue
from realtime.session.log import SessionLogger
from realtime.session.quota import Quota
from realtime.session.recording import RecordedQuota, recorded, recorded_config
from realtime.session.services import Services
from realtime.session.work import OutsideWork, TaskStarter, Timers

logger = logging.getLogger("realtime.session")


@dataclass(frozen=True, slots=True)
class Environment:
    """``id``: of the session. ``inputs`` has the clock that all parts read."""

    id: str
    config: SessionConfig
    services: Services
    ids: Ids
    quota: Quota
    conversation: EngineConversation
    log: SessionLogger
    inputs: InputQueue
    timers: Timers
    work: OutsideWork
    errors: ErrorTally = field(default_factory=ErrorTally)

    @classmethod
    def of(
        cls,
        session_id: str,
        services: Services,
        config: SessionConfig,
        ids: Ids,
        quota: Quota,
        inputs: InputQueue,
        start_task: TaskStarter,
    ) -> Environment:
        """The environment of a new session. ``start_task``: starts a task that ends with the session. What is read from
        outside goes through the recorder of ``inputs``, where there is one."""
        if (recorder := inputs.recorder) is not None:
            services, config = recorded(services, recorder), recorded_config(config, recorder)
            quota = RecordedQuota(quota, recorder)
        log = SessionLogger(logger, session_id)
        work = OutsideWork(inputs, start_task, log)
        conversation = EngineConversation(services.engine, session_id, payer=Payer(session_id, quota.key))
        return cls(session_id, config, services, ids, quota, conversation, log, inputs, Timers(inputs), work)

    @property
    def payer(self) -> Payer:
        """Whose share of engine and vocoder this session uses."""
        return Payer(self.id, self.quota.key)

    def event_sent(self, number: int) -> None:
        """The transport took over an event of the outbox."""
        self.inputs.put(EventSent(number))
