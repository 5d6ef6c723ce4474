"""Follow one's own training: three lines of it are bntheory's."""

import torch
from torch import nn

from bntheory.bridge import Monitor

x, y = torch.randn(2000, 20), torch.randint(5, (2000,))
model = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 5))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with Monitor(model, nn.functional.cross_entropy, (x[:200], y[:200]), share=None).following(optimizer) as monitor:
    for i in torch.randint(2000, (300, 64)):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[i]), y[i]).backward()
        optimizer.step()
monitor.figure().savefig("training.png")
