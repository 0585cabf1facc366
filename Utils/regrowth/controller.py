"""The controller that learns an allocation by REINFORCE: an LSTM that chooses, layer after layer, the share to take.

Sizes and constants are those of Bidirection-Prune-Regrowth (Liu and Sheng 2025, arXiv 2511.11675), where a ratio is sampled per
layer. Here the claims are then scaled to the whole budget, and a layer that can get no weight does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from Utils.regrowth.allocation import claim


@dataclass(frozen=True)
class Settings:
    """The published defaults.

    Attributes:
        actions: ratios to choose from, evenly spaced from 0 to 1.
        hidden: size of the LSTM's state.
        lr: learning rate of Adam, one step per episode.
        temperature: the divisor of an advantage, tau.
        clip: the largest advantage after the division.
        memory: share of the moving baseline that stays; the rest is the new reward.
        start_beta, end_beta: weight of the entropy, linear over `decay` of the episodes.
    """

    actions: int = 11
    hidden: int = 64
    lr: float = 5e-3
    temperature: float = 0.005
    clip: float = 100.0
    memory: float = 0.9
    start_beta: float = 0.4
    end_beta: float = 0.04
    decay: float = 0.4

    def beta(self, episode: int, episodes: int) -> float:
        """Return the weight of the entropy in `episode`, counted from 0."""
        span = max(self.decay * episodes, 1.0)
        return self.start_beta + (self.end_beta - self.start_beta) * min(episode / span, 1.0)

    def text(self) -> str:
        """Put all settings on one line."""
        return ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in asdict(self).items())


class Episode(NamedTuple):
    """The samples of an episode.

    Attributes:
        ratios: a ratio per layer.
        log_prob: the sum of the log-probabilities over the layers that count.
        entropy: the mean entropy over these layers.
    """

    ratios: list[float]
    log_prob: torch.Tensor
    entropy: torch.Tensor


class AllocationController(nn.Module):
    """An LSTM cell and a linear head, with 21,195 parameters in the published sizes.

    It stays on the CPU, where its draws are made.
    """

    def __init__(self, settings: Settings, seed: int) -> None:
        super().__init__()
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.cell = nn.LSTMCell(settings.actions + 3, settings.hidden)
            self.head = nn.Linear(settings.hidden, settings.actions)

    def forward(
        self, x: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Process one layer: input [1, actions + 3] and state -> logits [1, actions] and the next state."""
        state = self.cell(x, state)
        return self.head(state[0]), state

    def sample(self, budget: int, capacity: Sequence[int], draws: torch.Generator) -> Episode:
        """Sample a ratio for each layer from its position, its share of all capacity, and the share of the budget still left.

        A layer that can get no weight, as its capacity or the rest of the budget is 0, gets the ratio 0 and takes no part in
        learning.
        """
        actions, total = self.settings.actions, max(sum(capacity), 1)
        state = (torch.zeros(1, self.settings.hidden), torch.zeros(1, self.settings.hidden))
        logits, left = torch.zeros(1, actions), budget
        ratios, log_probs, entropies = [], [], []
        for i, c in enumerate(capacity):
            context = torch.tensor([[i / max(len(capacity) - 1, 1), c / total, left / max(budget, 1)]])
            logits, state = self(torch.cat([logits, context], 1), state)
            if min(c, left) == 0:
                ratios.append(0.0)
                continue
            log_p = logits.log_softmax(1)[0]
            action = int(torch.multinomial(log_p.detach().exp(), 1, generator=draws))
            ratios.append(action / (actions - 1))
            log_probs.append(log_p[action])
            entropies.append(-(log_p.exp() * log_p).sum())
            left -= claim(ratios[-1], c, left)
        return Episode(ratios, torch.stack(log_probs).sum(), torch.stack(entropies).mean())


class Reinforce:
    """REINFORCE with a moving baseline and an entropy bonus that fades; its state can be saved and restored.

    Attributes:
        controller: the network that is trained.
        baseline: the moving mean of the rewards, None before the first.
        draws: the generator of all samples.
    """

    def __init__(self, settings: Settings, seed: int) -> None:
        self.controller = AllocationController(settings, seed)
        self.settings = settings
        self.optimizer = torch.optim.Adam(self.controller.parameters(), lr=settings.lr)
        self.baseline: float | None = None
        self.draws = torch.Generator().manual_seed(seed)

    def learn(self, episode: Episode, reward: float, beta: float) -> float:
        """Take a step on -advantage * log-probability - beta * entropy; return the advantage over the old baseline."""
        s = self.settings
        before = reward if self.baseline is None else self.baseline
        advantage = min(max((reward - before) / s.temperature, -s.clip), s.clip)
        loss = -advantage * episode.log_prob - beta * episode.entropy
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.baseline = reward if self.baseline is None else s.memory * self.baseline + (1 - s.memory) * reward
        return advantage

    def state(self) -> dict[str, Any]:
        """Return everything that `restore` needs, the generator's state included."""
        return {
            "controller": {k: v.clone() for k, v in self.controller.state_dict().items()},
            "optimizer": self.optimizer.state_dict(),
            "baseline": self.baseline,
            "draws": self.draws.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to `state`."""
        self.controller.load_state_dict(state["controller"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.baseline = state["baseline"]
        self.draws.set_state(state["draws"])
