"""The clock for measuring what the model's work costs."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def compute_clock() -> Callable[[], float]:
    """Seconds of compute: of this thread's processor time where it does all the work itself, so that what else runs on
    the machine at that moment does not count; else of the wall clock."""
    alone = torch.get_num_threads() == 1 and not torch.cuda.is_available()
    return time.thread_time if alone else time.perf_counter
