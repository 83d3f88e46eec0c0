"""Models that run without embedkit: backbone and fitted steps as one network, in a file of ONNX or of torch.

    fitted steps -> operations (`steps`) -> one torch module (`network`) -> bytes (`formats`) -> compared (`parity`)

Layer: above the estimators, beside probes and persistence. Imports scikit-learn, and torch in `network` and `formats`;
the backbone's module is handed to it.
"""

from embedkit.deployment.affine import Affine
from embedkit.deployment.formats import check_installed, runner, to_bytes
from embedkit.deployment.network import Classifier
from embedkit.deployment.parity import compare
from embedkit.deployment.steps import Decision, flattened, read_steps

__all__ = [
    "Affine",
    "Classifier",
    "Decision",
    "check_installed",
    "compare",
    "flattened",
    "read_steps",
    "runner",
    "to_bytes",
]
