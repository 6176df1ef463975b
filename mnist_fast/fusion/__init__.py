"""``fuse`` brings the fused block into a stock network, ``unfuse`` takes it out again, ``fusion_report`` says why not.

Both return a copy with the same ``state_dict``. Chains inside ``nn.Sequential`` containers are rewritten in place, so
the network keeps its classes. Where a convolution is called from somebody's own ``forward``
(``F.relu(self.conv1(x))``), the network is traced with ``torch.fx`` and becomes a ``GraphModule`` of the same name.
"""

from mnist_fast.fusion.graph import CannotTraceError as CannotTraceError
from mnist_fast.fusion.networks import NotFusedWarning as NotFusedWarning
from mnist_fast.fusion.networks import fuse as fuse
from mnist_fast.fusion.networks import fusion_report as fusion_report
from mnist_fast.fusion.networks import unfuse as unfuse
from mnist_fast.fusion.report import FusionReport as FusionReport

__all__ = ["CannotTraceError", "FusionReport", "NotFusedWarning", "fuse", "fusion_report", "unfuse"]
