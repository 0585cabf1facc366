"""The search for an allocation: each episode samples one, regrows, trains a little, measures and learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from tqdm import tqdm

from Utils.regrowth.allocation import allocate
from Utils.regrowth.controller import Reinforce, Settings

COLUMNS = ("episode", "reward", "best", "baseline", "advantage", "beta", "entropy")


@dataclass
class Found:
    """The results of a search so far.

    Attributes:
        allocation: the best allocation.
        reward: its reward.
        episode: the episode that found it.
        history: a row of `COLUMNS` for each episode.
        allocations: for each episode, the counts in the order of the layers.
    """

    allocation: dict[str, int] = field(default_factory=dict)
    reward: float = float("-inf")
    episode: int = -1
    history: list[list[float]] = field(default_factory=list)
    allocations: list[list[int]] = field(default_factory=list)

    def table(self, caps: Mapping[str, int]) -> pd.DataFrame:
        """Return the history with a column of counts for each layer."""
        frame = pd.DataFrame(self.history, columns=COLUMNS).astype({"episode": int})
        return frame.join(pd.DataFrame(self.allocations, columns=list(caps)))


def search(
    caps: Mapping[str, int],
    budget: int,
    evaluate: Callable[[Mapping[str, int]], float],
    episodes: int,
    seed: int,
    *,
    settings: Settings | None = None,
    state: Mapping[str, Any] | None = None,
    after_episode: Callable[[Callable[[], dict[str, Any]]], None] | None = None,
) -> Found:
    """Search for the best allocation of `budget` in `episodes`; layers are visited in the order of `caps`.

    Args:
        caps: layer -> capacity.
        budget: the number of weights to regrow.
        evaluate: allocation -> reward, from 0 to 1; it depends on nothing else.
        episodes: the number of episodes.
        seed: the seed of the controller's weights and draws.
        settings: the controller's; by default the published ones.
        state: a state that `after_episode` received; the search continues from it with the same numbers, bit for bit.
        after_episode: called after each episode with a function that makes the state.
    """
    settings = settings or Settings()
    learner, found = Reinforce(settings, seed), Found()
    if state:
        learner.restore(state["learner"])
        found = Found(**state["found"])
    bar = tqdm(total=episodes, initial=len(found.history), desc="search", unit="episode", leave=False, disable=None)
    with bar:
        for episode in range(len(found.history), episodes):
            _next(learner, found, caps, budget, evaluate, episode, episodes)
            bar.update()
            bar.set_postfix_str(f"best reward {found.reward:.4f}")
            if after_episode:
                after_episode(lambda: {"learner": learner.state(), "found": vars(found)})
    return found


def _next(
    learner: Reinforce,
    found: Found,
    caps: Mapping[str, int],
    budget: int,
    evaluate: Callable[[Mapping[str, int]], float],
    episode: int,
    episodes: int,
) -> None:
    sampled = learner.controller.sample(budget, list(caps.values()), learner.draws)
    allocation = allocate("rl", budget, caps, ratios=sampled.ratios)
    reward = evaluate(allocation)
    beta = learner.settings.beta(episode, episodes)
    advantage = learner.learn(sampled, reward, beta)
    if reward > found.reward:
        found.allocation, found.reward, found.episode = dict(allocation), reward, episode
    found.history.append([episode, reward, found.reward, learner.baseline, advantage, beta, sampled.entropy.item()])
    found.allocations.append(list(allocation.values()))
