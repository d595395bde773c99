"""What only some processors can do, or more than one."""

import os

import pytest
import torch

takes_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no products in bfloat16 for this CPU"
)
takes_two = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="a server refuses more ranks than processors")
