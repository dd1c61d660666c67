# SPDX-License-Identifier: Apache-2.0
"""The optimiser goes on wherever a run is resumed, and averages follow what is trained."""

import copy

import torch
from torch import nn

from glc.training.optimizer import Average, adamw, restore

SETTINGS = {"learning_rate": 0.1, "betas": (0.9, 0.98), "weight_decay": 0.01}


def take_steps(optimizer, network, n):
    for _ in range(n):
        optimizer.zero_grad(set_to_none=True)
        network(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()


def test_a_state_of_the_fused_optimiser_goes_on_in_another():
    torch.manual_seed(0)
    network = nn.Linear(3, 4)
    fused = torch.optim.AdamW(network.parameters(), lr=0.1, betas=(0.9, 0.98), fused=True)
    take_steps(fused, network, 3)
    other = copy.deepcopy(network)
    ours = adamw(list(other.parameters()), **SETTINGS)
    assert ours.param_groups[0]["fused"] is None  # on the CPU torch chooses
    state = copy.deepcopy(fused.state_dict())
    restore(ours, state)
    assert ours.param_groups[0]["fused"] is None
    assert state["param_groups"][0]["fused"] is True  # what was read is not written to
    take_steps(fused, network, 2)
    take_steps(ours, other, 2)
    torch.testing.assert_close(other.weight, network.weight)


def test_settings_are_those_of_the_run_that_goes_on():
    network = nn.Linear(3, 4)
    before = adamw(list(network.parameters()), **SETTINGS)
    take_steps(before, network, 1)
    changed = {"learning_rate": 0.01, "betas": (0.5, 0.9), "weight_decay": 0.5}
    after = adamw(list(network.parameters()), **changed)
    restore(after, before.state_dict())
    group = after.param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.01, (0.5, 0.9), 0.5)
    assert after.state[network.weight]["step"] == 1


def test_averages_follow_what_is_trained():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    network.register_buffer("codebook", torch.zeros(2))
    network[0].requires_grad_(False)
    average = Average(network)
    start = {name: value.clone() for name, value in average.state.items()}
    with torch.no_grad():
        network[1].weight += 1
        network.codebook += 2
    average.update(0.75)
    moved = {"1.weight": 0.25, "codebook": 0.5}
    for name, value in average.state.items():
        torch.testing.assert_close(value, start[name] + moved.get(name, 0.0))
    average.load(start)
    average.update(0.75)
    torch.testing.assert_close(average.state["codebook"], start["codebook"] + 0.5)
