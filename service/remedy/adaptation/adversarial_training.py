"""Domain-adversarial training (Ganin et al. 2016) of a small network on embeddings, with torch."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..result import RemedyNotApplicable
from .head import Head, ResidualAdapter, fit
from .renormalise import transport

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

HIDDEN = 64  # units of the feature extractor and of the discriminator
STEPS = 400
BATCH = 64  # rows of each domain in a batch
RATE, RATE_DECAY, RATE_POWER = 0.01, 10.0, 0.75  # section 5.2.2: mu = 0.01 / (1 + 10 p)^0.75
MOMENTUM = 0.9
LAMBDA_RATE = 10.0  # section 5.2.2: lambda = 2 / (1 + exp(-10 p)) - 1
REVERSE_PENALTY = 0.01


class Network(NamedTuple):
    """A trained feature extractor, which bends embeddings, and a label classifier on it."""

    adapter: ResidualAdapter
    head: Head


class TrainedNetworks(NamedTuple):
    """The network as the reference passes through it, and as the window does."""

    reference: Network
    window: Network


def require_torch() -> Any:
    """Return the module torch.

    Raises
    ------
    RemedyNotApplicable
        It is not installed.
    """
    try:
        import torch
    except ImportError:
        raise RemedyNotApplicable("needs torch: pip install 'tidemark[adapt]'") from None
    return torch


def train(
    reference: Floats, labels: Integers, window: Floats, start: Head, strength: float, seed: int
) -> TrainedNetworks:
    """Train features that tell classes apart on the reference, and domains not.

    The feature extractor is G(e) = e + V relu(U e + a) + b with V = b = 0 at first, and the label classifier starts
    from the model's own last layer. The window enters renormalised to the reference's statistics: training begins
    where the closed form ends. A discriminator of one hidden layer tells G(reference) from G(window); its
    gradient enters G reversed, times strength x lambda. All run on one thread, seeded, so that the same data gives the
    same network.

    Parameters
    ----------
    reference : Floats
        (n, d) with `labels` (n,).
    window : Floats
        (m, d), no labels.
    strength : float
        The strength of the adversary, which is the final value of lambda.

    Raises
    ------
    RemedyNotApplicable
        Torch is not installed.
    """
    torch = require_torch()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        first = transport(window, reference)
        adapter, head = _train(torch, reference, labels, first.scores(window).astype(np.float32), start, strength, seed)
        return TrainedNetworks(
            Network(adapter, head), Network(ResidualAdapter(first, adapter.inner.after(first), adapter.outer), head)
        )
    finally:
        torch.set_num_threads(threads)


def reverse_accuracy(trained: TrainedNetworks, reference: Floats, labels: Integers, window: Floats) -> float:
    """Return the accuracy of reverse validation (Zhong et al. 2010), which Ganin et al. (2016) choose by, too.

    A last layer is fitted on the window's features with the network's own answers as labels, and asked for the
    reference's true labels: it knows them only if the answers mean in the window what they mean there.
    """
    seen, features = trained.window.adapter(window), trained.reference.adapter(reference)
    head = trained.window.head
    answers = head.probabilities(seen).argmax(axis=1)
    blank = Head(np.zeros_like(head.weights), np.zeros_like(head.offsets))
    reverse = fit(seen, answers, np.ones(len(seen)), blank, REVERSE_PENALTY)
    return float((reverse.probabilities(features).argmax(axis=1) == labels).mean())


def _train(
    torch: Any, reference: Floats, labels: Integers, window: Floats, start: Head, strength: float, seed: int
) -> Network:
    d = reference.shape[1]
    draws = torch.Generator().manual_seed(seed)
    mean, deviation = reference.mean(axis=0), reference.std(axis=0)
    scale = np.maximum(deviation, 0.1 * np.median(deviation[deviation > 0])) if (deviation > 0).any() else np.ones(d)
    source, target = (torch.tensor((rows - mean) / scale, dtype=torch.float32) for rows in (reference, window))
    truth = torch.tensor(labels)

    def weights(rows: int, columns: int) -> Any:
        return (torch.randn(rows, columns, generator=draws) / rows**0.5).requires_grad_()

    def zeros(*shape: int) -> Any:
        return torch.zeros(*shape, requires_grad=True)

    u, a, v, b = weights(d, HIDDEN), zeros(HIDDEN), zeros(HIDDEN, d), zeros(d)
    w = torch.tensor(start.weights * scale[:, None], dtype=torch.float32, requires_grad=True)
    c = torch.tensor(start.offsets + mean @ start.weights, dtype=torch.float32, requires_grad=True)
    p, q, r, s = weights(d, HIDDEN), zeros(HIDDEN), weights(HIDDEN, 1), zeros(1)
    optimiser = torch.optim.SGD([u, a, v, b, w, c, p, q, r, s], lr=RATE, momentum=MOMENTUM)
    domain = torch.cat([torch.zeros(BATCH), torch.ones(BATCH)])
    label_loss, domain_loss = torch.nn.CrossEntropyLoss(), torch.nn.BCEWithLogitsLoss()
    reversal = _reversal(torch)
    for step in range(STEPS):
        progress = step / STEPS
        for group in optimiser.param_groups:
            group["lr"] = RATE / (1 + RATE_DECAY * progress) ** RATE_POWER
        adversary = strength * (2 / (1 + float(np.exp(-LAMBDA_RATE * progress))) - 1)
        rows = torch.randint(len(source), (BATCH,), generator=draws)
        others = torch.randint(len(target), (BATCH,), generator=draws)
        seen = torch.cat([source[rows], target[others]])
        features = seen + torch.relu(seen @ u + a) @ v + b
        domain_logits = torch.relu(reversal.apply(features, adversary) @ p + q) @ r + s
        loss = label_loss(features[:BATCH] @ w + c, truth[rows]) + domain_loss(domain_logits[:, 0], domain)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    u, a, v, b, w, c = (value.detach().numpy().astype(np.float64) for value in (u, a, v, b, w, c))
    inner = Head(u / scale[:, None], a - (mean / scale) @ u)
    outer = Head(v * scale, b * scale)
    return Network(
        ResidualAdapter(Head(np.eye(d), np.zeros(d)), inner, outer), Head(w / scale[:, None], c - (mean / scale) @ w)
    )


def _reversal(torch: Any) -> Any:
    class Reversal(torch.autograd.Function):  # type: ignore[misc]
        """The gradient-reversal layer (section 4.2): itself forwards, minus lambda times the gradient backwards."""

        @staticmethod
        def forward(context: Any, values: Any, strength: float) -> Any:
            context.strength = strength
            return values.view_as(values)

        @staticmethod
        def backward(context: Any, gradient: Any) -> tuple[Any, None]:
            return -context.strength * gradient, None

    return Reversal
