"""SCRUB+R (Kurmanji et al. 2023, section 3.2): SCRUB, rewound to the right amount of forgetting."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from trainables.access import Granted
from trainables.methods.scrub import Scrub
from trainables.metrics.accuracy import accuracy
from trainables.models.answers import predict
from trainables.training.passes import PHASE_ENDS, Plan

HELD_OUT = 0.2
"""Share of D_f that is kept from scrubbing, to tell how the final model errs on unscrubbed samples
of the forget classes."""


@dataclass(frozen=True)
class ScrubRewind(Scrub):
    """The checkpoint whose error on D_f is nearest to the final model's on held-out samples.

    The authors take the held-out samples from a validation set. Here they are cut from D_f, so
    that the validation figures which steer a search stay unseen by the method.
    """

    def plan(self, model: nn.Module, access: Granted, rng: torch.Generator) -> Plan:
        """SCRUB on what is left of D_f; then back to the right checkpoint."""
        order = torch.randperm(len(access.forget), generator=rng, device=rng.device)
        cut = max(1, round(HELD_OUT * len(order)))
        held_out, forget = access.forget.where(order[:cut]), access.forget.where(order[cut:])

        checkpoints, errors = [], []
        for step in self.scrub(model, forget, access.retain):
            yield step
            if step is PHASE_ENDS:
                checkpoints.append(copy.deepcopy(model.state_dict()))
                errors.append(100 - accuracy(predict(model, forget.images), forget.labels))

        reference = 100 - accuracy(predict(model, held_out.images), held_out.labels)
        nearest = min(range(len(errors)), key=lambda epoch: abs(errors[epoch] - reference))
        model.load_state_dict(checkpoints[nearest])
        yield PHASE_ENDS
