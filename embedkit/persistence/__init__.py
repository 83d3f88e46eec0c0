"""Model files: fitted pipelines that ship, read as if a stranger had written them.

Layer: above the embedder, beside probes. Never imports h5py.
"""

from embedkit.persistence.failing import at_work
from embedkit.persistence.model import Model, fitted_parts
from embedkit.persistence.model_file import check_saveable, load_model, save_model
from embedkit.persistence.trusted import TRUSTED_TYPES

__all__ = ["TRUSTED_TYPES", "Model", "at_work", "check_saveable", "fitted_parts", "load_model", "save_model"]
